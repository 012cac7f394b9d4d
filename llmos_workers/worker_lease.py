"""VisibilityLease: a delivery that is still being worked on stays invisible to other workers.

kombu stamps a delivery once and hands it to another worker after visibility_timeout, however
busy its holder is. This step stamps what this worker holds again, every third of the timeout.
A worker that dies stops stamping, so a short timeout finds dead workers soon and yet lets tasks
run for minutes. A delivery older than the longest run is stamped no more.
"""

from __future__ import annotations

import time
from typing import Any

from celery import bootsteps

from llmos_workers.app_settings import max_hold_secs
from llmos_workers.config import LLMOSConfig

RENEWALS_PER_TIMEOUT = 3


class VisibilityLease(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumer step; its timer runs in the consumer's event loop, like the deliveries."""

    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._held: HeldDeliveries | None = None

    def start(self, consumer: Any) -> None:
        """Begin stamping (again, after each reconnect)."""
        config: LLMOSConfig = consumer.app.llmos_config
        self._held = HeldDeliveries(max_hold_secs(config))
        every = config.redis.visibility_timeout_secs / RENEWALS_PER_TIMEOUT
        self._timer = consumer.timer.call_repeatedly(every, self.renew, (consumer,), priority=10)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002
        """End stamping."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def renew(self, consumer: Any) -> None:
        """Stamp what is held now. Errors of the connection make the consumer reconnect."""
        if consumer.task_consumer is None or self._held is None:
            return
        channel = consumer.task_consumer.channel
        tags = self._held.to_renew(list(channel.qos._delivered), time.monotonic())
        if tags:
            with channel.conn_or_acquire() as client:
                # xx: a delivery acknowledged in the meantime must not come back.
                client.zadd(channel.unacked_index_key, dict.fromkeys(tags, time.time()), xx=True)


class HeldDeliveries:
    """Since when each delivery is held; pure."""

    def __init__(self, max_age: float) -> None:
        """``max_age`` in seconds."""
        self.max_age = max_age
        self._since: dict[str, float] = {}

    def to_renew(self, tags: list[str], now: float) -> list[str]:
        """Those of the held ``tags`` that are not too old; forgets the ones no longer held."""
        self._since = {tag: self._since.get(tag, now) for tag in tags}
        return [tag for tag, since in self._since.items() if now - since <= self.max_age]
