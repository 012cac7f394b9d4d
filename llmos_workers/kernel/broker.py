"""What lies in the broker: whose messages wait in the lists, and who holds unacknowledged ones.

Read with plain commands in windows, so that a queue of any length costs a little at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from llmos_workers.kernel import scripts
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.wire import STEP_SEPARATOR

UNACKED = "unacked"
UNACKED_INDEX = "unacked_index"
"""kombu's own keys: deliveries that no worker acknowledged yet, and when each was stamped."""

STEPS = (9, 6, 3)

_ID = re.compile(rb'"id"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Held:
    """A delivery that a worker took and did not acknowledge."""

    tag: str
    goal_id: str
    stamped: float
    """Unix time of the last sign of its holder."""
    list_name: str
    payload: bytes


def task_ids(messages: Iterable[bytes]) -> set[str]:
    """Ids that the messages name: those of their tasks, perhaps more, never fewer.

    Quotes inside of JSON strings are escaped, so what a goal's text says matches nothing.
    """
    found = set()
    for message in messages:
        for raw in _ID.findall(message):
            found.add(json.loads(b'"%s"' % raw) if b"\\" in raw else raw.decode())
    return found


def window(broker: Client, name: str, start: int, size: int) -> list[bytes]:
    """``size`` messages of a list from its young end on. New ones push older ones onward, so
    one that stays in the list is never passed over by windows that follow each other.
    """
    return cast(list[bytes], broker.lrange(name, start, start + size - 1))


def unacknowledged(broker: Client) -> set[str]:
    """Task ids of all deliveries that workers hold: as many as slots and prefetched messages."""
    return {
        found
        for _, value in broker.hscan_iter(UNACKED, count=200)
        for found in task_ids([cast(bytes, value)])
    }


def held(broker: Client, goal_ids: Sequence[str]) -> dict[str, Held]:
    """The delivery of each goal that would go on at once, the oldest if there are several.

    One that waits for its time (a duplicate's retry) belongs to a worker that lives.
    """
    wanted, found = set(goal_ids), dict[str, Held]()
    for tag, value in broker.hscan_iter(UNACKED, count=200):
        if wanted.isdisjoint(task_ids([value])):
            continue
        message, _exchange, queue = json.loads(value)
        headers = message.get("headers") or {}
        goal_id = headers.get("id")
        if goal_id not in wanted or headers.get("eta"):
            continue
        stamped = broker.zscore(UNACKED_INDEX, tag) or 0.0
        if goal_id not in found or stamped < found[goal_id].stamped:
            place, payload = _restorable(message, queue)
            found[goal_id] = Held(tag.decode(), goal_id, stamped, place, payload)
    return found


def restore(broker: Client, delivery: Held) -> bool:
    """Put a delivery back where it came from, as next; False when it is gone."""
    names = [UNACKED, UNACKED_INDEX, delivery.list_name]
    script = scripts.load("restore")
    return bool(script.run(broker, names, [delivery.tag, delivery.payload]))


def _restorable(message: dict[str, Any], queue: str) -> tuple[str, bytes]:
    properties = message.setdefault("properties", {})
    message.setdefault("headers", {})["redelivered"] = True
    properties.setdefault("delivery_info", {})["redelivered"] = True
    priority = properties.get("priority") or 0
    step = next((step for step in STEPS if priority >= step), 0)
    name = f"{queue}{STEP_SEPARATOR}{step}" if step else queue
    return name, json.dumps(message).encode()
