"""The search for goals that need a message which is nowhere any more: to go on, or, ended outside
of a task, to tell Celery so.

Exact and cheap: the goals that have waited for longer than the grace are copied aside as
suspects, inside of Redis; then every message of the broker is looked at once, a window at a
time and a few windows per tick, and whoever has one is a suspect no more. Who is left has none.

Nothing that moves meanwhile is missed: lists are read from their young end, so messages only
move into what is still unread; what is taken shows among the unacknowledged, which are read
first and, a tick later, again (a worker that just took a message has said so by then), together
with the young ends, where given back messages go. Whatever runs changes its record, which the
last check under the record's own script sees. An error here is a duplicate, not a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import broker, keys
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.redis import Client

WINDOW = 500
"""Messages read at once."""

BATCH = 200
"""Lost goals that are handed out at once."""

ABANDONED_SECS = 30
"""A search that nobody went on with for so long begins anew: what it saw has moved."""

WAITS_FOR_MESSAGE = (GoalState.ACCEPTED, GoalState.DISPATCHED)

Suspects = list[tuple[str, float]]
"""Goal id and the time of entering its state, or of its end."""


@dataclass(frozen=True)
class Sweep:
    """One search at a time in the whole system; any process does its next piece."""

    state: Client
    queue: Client
    """A client of the broker's database."""
    lists: Sequence[str]
    """Every Redis list in which a goal's message may wait."""
    grace_s: float
    clock: Clock

    def go_on(self, budget_s: float) -> Suspects:
        """Look on for about ``budget_s`` seconds; at the end of a search some of the goals
        without a message. The caller sends them again and says so with ``handled``.
        """
        deadline = self.clock.steady() + budget_s
        at = self._place()
        if at is None and not self._begin():
            return []
        step, start = at or (0, 0)
        looked_again = len(self.lists) + 1
        while step <= looked_again:
            if step < looked_again:
                step, start = self._look(step, start)
            else:
                self._look_again()
                step += 1
            if not self._any_left():
                self._end()
                return []
            self._keep(step, start)
            # The second look comes a tick after the first.
            if step == looked_again or self.clock.steady() > deadline:
                return []
        found = self.state.zrange(keys.RECOVERY_SUSPECTS, 0, BATCH - 1, withscores=True)
        return [(each.decode(), score) for each, score in cast(list[tuple[bytes, float]], found)]

    def handled(self, goal_ids: Sequence[str]) -> None:
        """These are sent again, or need not be."""
        if goal_ids:
            self.state.zrem(keys.RECOVERY_SUSPECTS, *goal_ids)
        if not self._any_left():
            self._end()

    def _begin(self) -> bool:
        """Copy the suspects aside; False when it is not time, or nobody waits for so long."""
        if self.state.exists(keys.RECOVERY_PAUSE):
            return False
        seconds, micros = self.state.time()
        before = seconds + micros / 1e6 - self.grace_s
        mine = keys.RECOVERY_SUSPECTS
        sources = [*map(keys.goals_in_state, WAITS_FOR_MESSAGE), keys.UNREPORTED]
        parts = {f"{mine}:{number}": source for number, source in enumerate(sources)}
        with self.state.pipeline() as pipe:
            for into, source in parts.items():
                pipe.zrangestore(into, source, "-inf", before, byscore=True)
            # Queues that are always long are not searched all the time.
            pipe.set(keys.RECOVERY_PAUSE, "1", px=max(1, int(self.grace_s * 500)))
            pipe.zunionstore(mine, list(parts))
            pipe.delete(*parts)
            suspects = pipe.execute()[-2]
        if suspects:
            self._keep(0, 0)
        return bool(suspects)

    def _look(self, step: int, start: int) -> tuple[int, int]:
        """Read the next piece; where to go on. Step 0: what workers hold, then the lists."""
        if step == 0:
            self._cleared(broker.unacknowledged(self.queue))
            return 1, 0
        messages = broker.window(self.queue, self.lists[step - 1], start, WINDOW)
        self._cleared(broker.task_ids(messages))
        return (step, start + WINDOW) if len(messages) == WINDOW else (step + 1, 0)

    def _look_again(self) -> None:
        self._cleared(broker.unacknowledged(self.queue))
        for name in self.lists:
            self._cleared(broker.task_ids(broker.window(self.queue, name, 0, WINDOW)))

    def _cleared(self, goal_ids: set[str]) -> None:
        if goal_ids:
            self.state.zrem(keys.RECOVERY_SUSPECTS, *goal_ids)

    def _any_left(self) -> bool:
        return bool(self.state.exists(keys.RECOVERY_SUSPECTS))

    def _place(self) -> tuple[int, int] | None:
        step, start = cast(
            list[bytes | None], self.state.hmget(keys.RECOVERY_STATE, ["step", "start"])
        )
        if step is None or start is None or not self._any_left():
            return None
        return int(step), int(start)

    def _keep(self, step: int, start: int) -> None:
        with self.state.pipeline() as pipe:
            pipe.hset(keys.RECOVERY_STATE, mapping={"step": step, "start": start})
            pipe.expire(keys.RECOVERY_SUSPECTS, ABANDONED_SECS)
            pipe.execute()

    def _end(self) -> None:
        with self.state.pipeline() as pipe:
            pipe.hdel(keys.RECOVERY_STATE, "step", "start")
            pipe.delete(keys.RECOVERY_SUSPECTS)
            pipe.execute()
