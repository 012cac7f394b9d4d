"""How much work waits or is held: what a fleet is scaled by.

The length of a Celery queue is blind to messages that workers prefetched or hold, and to goals
that are put aside and come back by themselves; this counts all three.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import keys
from llmos_workers.kernel.broker import UNACKED
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.wire import DISPATCH_QUEUE, queue_lists

QUEUES = ("dispatch", "llm", "replay", "upkeep")
SOON_SECS = 60.0
"""A delayed goal counts from so long before it is due: one that waits a day for a person's answer
keeps no worker busy."""

NOT_BEGUN = (GoalState.ACCEPTED, GoalState.DISPATCHED)


class QueueBacklog(Contract):
    """Work of one queue, in tasks."""

    queue: str
    queued: int = 0
    """Messages in its lists."""
    delayed: int = 0
    """Goals that enter it again within SOON_SECS."""
    unacked: int = 0
    """Messages that workers hold: what runs and what is prefetched."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.queued + self.delayed + self.unacked


class Backlog(Contract):
    """Work of all queues at one moment."""

    queues: tuple[QueueBacklog, ...]
    oldest_s: float = 0.0
    """How long the goal has waited that has waited longest for a worker, in seconds; 0: none."""

    @property
    def total(self) -> int:
        """Of all queues."""
        return sum(queue.total for queue in self.queues)


def read_backlog(state: Client, broker: Client, *, queues: Sequence[str] = QUEUES) -> Backlog:
    """Count with plain commands, two round trips and one page per 200 held messages.

    ``state`` and ``broker`` are clients of the two databases. Raises redis.RedisError.
    """
    with state.pipeline(transaction=False) as pipe:
        pipe.time()
        for each in NOT_BEGUN:
            pipe.zrange(keys.goals_in_state(each), 0, 0, withscores=True)
        (seconds, micros), *oldest = pipe.execute()
    now = seconds + micros / 1_000_000
    delayed = state.zcount(keys.DELAYED, "-inf", now + SOON_SECS)
    entered = [cast(float, rows[0][1]) for rows in oldest if rows]
    queued, unacked = _queued(broker, queues), _unacked(broker)
    return Backlog(
        queues=tuple(
            QueueBacklog(
                queue=name,
                queued=queued[name],
                # Whoever waited is dispatched anew.
                delayed=delayed if name == DISPATCH_QUEUE else 0,
                unacked=unacked[name],
            )
            for name in queues
        ),
        oldest_s=max(0.0, now - min(entered)) if entered else 0.0,
    )


def _queued(broker: Client, queues: Sequence[str]) -> Counter[str]:
    lists = [(queue, name) for queue in queues for name in queue_lists(queue)]
    with broker.pipeline(transaction=False) as pipe:
        for _, name in lists:
            pipe.llen(name)
        found: Counter[str] = Counter()
        for (queue, _), length in zip(lists, pipe.execute(), strict=True):
            found[queue] += length
        return found


def _unacked(broker: Client) -> Counter[str]:
    """Held messages by the queue that they came from."""
    found: Counter[str] = Counter()
    for _, value in broker.hscan_iter(UNACKED, count=200):
        _message, _exchange, queue = cast("list[Any]", json.loads(value))
        found[str(queue)] += 1
    return found
