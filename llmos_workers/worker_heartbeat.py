"""Heartbeat: a file for probes and a Redis key for ``llmos doctor`` and the embedded stack.

Both are written from the consumer's event loop, so they say that the loop turns and the worker
takes messages, not merely that the process exists.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

import redis
from celery import bootsteps

from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import Client, connect
from llmos_workers.kernel.schema import SCHEMA

logger = logging.getLogger(__name__)

HEARTBEAT_FILE = "LLMOS_HEARTBEAT_FILE"
"""Environment: path of a file that is touched with each beat."""

ROLE = "LLMOS_ROLE"
"""Environment: the worker's role (dispatch, llm, replay, upkeep)."""

BEAT_SECS = 3.0
ANSWER_SECS = 2.0
"""Longest wait for Redis: what the loop's timers do shares its thread with the deliveries."""

EXPIRY_SECS = 12
"""The key is gone so many seconds after a worker's last beat."""


class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumer step; the first beat comes when the worker takes messages."""

    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._client: Client | None = None
        self._started = time.time()

    def start(self, consumer: Any) -> None:
        """Beat now, and then every BEAT_SECS."""
        self.beat(consumer)
        self._timer = consumer.timer.call_repeatedly(BEAT_SECS, self.beat, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Stop beating, and say so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write(consumer, gone=True)
        if self._client is not None:
            self._client.close()
            self._client = None

    def beat(self, consumer: Any) -> None:
        """One beat; what cannot be written is logged and tried again with the next."""
        if path := os.environ.get(HEARTBEAT_FILE):
            try:
                Path(path).touch()
            except OSError as error:
                logger.warning("heartbeat file %s cannot be touched: %s", path, error)
        self._write(consumer)

    def _write(self, consumer: Any, *, gone: bool = False) -> None:
        key = keys.heartbeat(consumer.hostname)
        try:
            if self._client is None:
                self._client = _state_client(consumer.app)
            if gone:
                self._client.delete(key)
            else:
                self._client.set(key, json.dumps(self._facts(consumer)), ex=EXPIRY_SECS)
        except redis.RedisError as error:
            logger.warning("heartbeat cannot be written: %s", error)

    def _facts(self, consumer: Any) -> dict[str, Any]:
        return {
            "worker": consumer.hostname,
            "schema": SCHEMA,
            "role": os.environ.get(ROLE, "all"),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "queues": sorted(consumer.app.amqp.queues.consume_from),
            "pool": type(consumer.pool).__module__.rpartition(".")[2],
            "concurrency": consumer.pool.num_processes,
            "started_at": round(self._started, 3),
            "beat_at": round(time.time(), 3),
        }


def _state_client(app: Any) -> Client:
    config: LLMOSConfig = app.llmos_config
    return connect(config.redis, url=app.conf.broker_url, timeout_s=ANSWER_SECS)
