"""The clock of the upkeep role: a timer in each such worker, one Redis lock for all of them.

There is no beat process to lose: whichever upkeep worker lives does the work.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import redis
from celery import bootsteps

from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import connect
from llmos_workers.worker_heartbeat import ANSWER_SECS, ROLE

log = logging.getLogger(__name__)

UPKEEP_SECS = 10.0
"""Pause between two rounds: a person's edit of a file is seen at once on use, and here at last."""


class UpkeepClock(bootsteps.StartStopStep):  # type: ignore[misc]
    """Sends ``llmos.upkeep`` to its own queue now and then."""

    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.enabled = os.environ.get(ROLE) == "upkeep"
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Begin; again after each reconnect."""
        if self.enabled:
            self._entry = consumer.timer.call_repeatedly(UPKEEP_SECS, self._send, (consumer.app,))

    def stop(self, _consumer: Any) -> None:
        """End the timer; a worker that stops sends nothing more."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    @staticmethod
    def _send(app: Any) -> None:
        try:
            config, url = app.llmos_config.redis, app.conf.broker_url
            with connect(config, url=url, timeout_s=ANSWER_SECS) as state:
                # A little less than the pause: the next round must find the lock gone.
                mine = state.set(keys.UPKEEP_LOCK, os.getpid(), nx=True, px=int(UPKEEP_SECS * 900))
            if mine:
                app.send_task("llmos.upkeep", queue="upkeep", expires=UPKEEP_SECS)
        except redis.RedisError as error:
            log.warning("upkeep waits for Redis: %s", error)
