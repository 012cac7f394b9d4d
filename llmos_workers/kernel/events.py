"""The system-wide event bus: named topics for this process, other processes and other apps.

Publishing never blocks and never fails the publisher: subscribers of this process are called
one after the other, each failure is logged and isolated, and the Redis stream is capped.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis
from redis import Redis

from llmos_workers.contracts.events import Topic
from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import MAX_BLOCK_MS

log = logging.getLogger(__name__)

STREAM_LENGTH = 10_000
"""About how many events the stream keeps; older ones are dropped."""

Subscriber = Callable[[str, dict[str, Any]], None]
"""Called with topic and data, in the publisher's thread: keep it short."""


@dataclass(frozen=True)
class BusEvent:
    """One entry of the stream; ``event_id`` is where to read on."""

    event_id: str
    topic: str
    data: dict[str, Any]


class EventBus:
    """Publishes to subscribers of this process and, with a Redis client, to a stream."""

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis
        self._subscribers: dict[str, list[Subscriber]] = {}
        self._lock = threading.Lock()

    def publish(self, topic: Topic | str, data: dict[str, Any] | None = None) -> None:
        """Tell everyone. Neither a failing subscriber nor an absent Redis raises here."""
        name, data = str(topic), dict(data or {})
        self.notify(name, data)
        if self._redis is None:
            return
        try:
            fields: dict[Any, Any] = {"topic": name, "data": json.dumps(data, default=str)}
            self._redis.xadd(keys.BUS, fields, maxlen=STREAM_LENGTH, approximate=True)
        except (redis.RedisError, TypeError, ValueError):
            log.warning("event %s did not reach Redis", name, exc_info=True)

    def notify(self, topic: Topic | str, data: dict[str, Any]) -> None:
        """Tell the subscribers of this process only: for what a script already put on the
        stream. A failing subscriber does not raise here.
        """
        name = str(topic)
        with self._lock:
            subscribers = [*self._subscribers.get(name, ()), *self._subscribers.get("*", ())]
        for subscriber in subscribers:
            try:
                subscriber(name, dict(data))
            except Exception:
                # Whatever somebody else's code raises must not reach the publisher.
                log.exception("a subscriber of %s failed", name)

    def subscribe(self, topic: Topic | str, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` for each event of the topic (``*``: of all) published in this
        process. Returns a function that ends the subscription.
        """
        name = str(topic)
        with self._lock:
            self._subscribers.setdefault(name, []).append(subscriber)

        def unsubscribe() -> None:
            with self._lock:
                if subscriber in self._subscribers.get(name, []):
                    self._subscribers[name].remove(subscriber)

        return unsubscribe

    def read(
        self, after: str = "0-0", block_ms: int | None = None, *, count: int = 100
    ) -> list[BusEvent]:
        """Events of all processes after an id, oldest first, at most ``count``.

        ``$`` waits for new ones only. Without ``block_ms`` it returns at once, else after that
        many milliseconds at the latest, MAX_BLOCK_MS at most: ask again. Raises redis.RedisError.
        Without Redis: nothing.
        """
        if self._redis is None:
            return []
        block = min(block_ms, MAX_BLOCK_MS) if block_ms else None
        reply: Any = self._redis.xread({keys.BUS: after}, count=count, block=block)
        streams = reply.items() if isinstance(reply, dict) else reply or []
        entries = [entry for _, batch in streams for entry in _flatten(batch)]
        return [_event(entry_id, fields) for entry_id, fields in entries]


def _flatten(batch: Any) -> list[Any]:
    """redis-py nests entries once more under RESP 3."""
    return batch[0] if batch and isinstance(batch[0], list) else batch


def _event(entry_id: bytes, fields: dict[bytes, bytes]) -> BusEvent:
    return BusEvent(
        event_id=entry_id.decode(),
        topic=fields[b"topic"].decode(),
        data=json.loads(fields[b"data"]),
    )
