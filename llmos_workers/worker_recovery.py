"""The recovery clock: a timer in every worker of every role, one Redis lock for all of them.

As long as one worker process lives, goals of dead ones go on; there is no beat to lose.
"""

from __future__ import annotations

import logging
from typing import Any

import redis
from celery import bootsteps

from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel.recovery import TICK_SECS, Recovery
from llmos_workers.kernel.redis import Client, connect
from llmos_workers.worker_heartbeat import ANSWER_SECS

log = logging.getLogger(__name__)


class RecoveryClock(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumer step; runs from the first time the worker takes messages."""

    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._clients: list[Client] = []

    def start(self, consumer: Any) -> None:
        """Begin; again after each reconnect."""
        config: LLMOSConfig = consumer.app.llmos_config
        state, broker = (
            connect(config.redis, db=db, url=consumer.app.conf.broker_url, timeout_s=ANSWER_SECS)
            for db in (config.redis.state_db, config.redis.broker_db)
        )
        self._clients = [state, broker]
        recovery = Recovery(state, broker, config.kernel)
        self._timer = consumer.timer.call_repeatedly(TICK_SECS, tick, (recovery,))

    def stop(self, _consumer: Any) -> None:
        """End the timer; the other workers go on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for client in self._clients:
            client.close()
        self._clients = []


def tick(recovery: Recovery) -> None:
    """One tick; what goes wrong is logged and tried again with the next."""
    try:
        recovery.tick()
    except redis.RedisError as error:
        log.warning("recovery waits for Redis: %s", error)
    except Exception:  # the process boundary: a timer's fault must not end the consumer
        log.exception("recovery failed by a fault of llmos itself")
