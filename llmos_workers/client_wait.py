"""Following a goal to its end over connections that may break."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from llmos_workers.client_connect import RedisPlace, talking
from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.contracts.events import GoalEvent, GoalEventKind
from llmos_workers.contracts.goal import FINAL_STATES, GoalRecord
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goals import GoalStore

T = TypeVar("T")

BLOCK_MS = 1_000
"""Longest single read that waits for news; well below the socket's own timeout of 5 s."""

RETRY_PAUSE_S = 0.25
START = "0-0"


@dataclass
class Line:
    """A way to the goal store that survives a lost connection for ``patience_s`` seconds.

    A server that never answered fails at once; one that did is waited for.
    """

    goals: GoalStore
    place: RedisPlace
    clock: Clock
    patience_s: float
    queue: Callable[[Iterable[GoalRecord]], None]
    """Sends the message of a goal that is on record."""
    answered: bool = False

    def ask(self, goal_id: str, question: Callable[[GoalStore], T]) -> T:
        """The answer of the goal store. Raises BrokerUnavailable once patience is over."""
        lost_at: float | None = None
        while True:
            try:
                with talking(self.place, f"asking about goal {goal_id}"):
                    answer = question(self.goals)
            except BrokerUnavailable as error:
                now = self.clock.steady()
                lost_at = now if lost_at is None else lost_at
                if not self.answered or now - lost_at >= self.patience_s:
                    raise self._given_up(goal_id, error) from error
                time.sleep(RETRY_PAUSE_S)
            else:
                self.answered = True
                return answer

    def _given_up(self, goal_id: str, error: BrokerUnavailable) -> BrokerUnavailable:
        if not self.answered:
            return error
        return BrokerUnavailable(
            f"Redis at {self.place} went away while goal {goal_id} was waited for, and did not "
            f"come back within {self.patience_s:.0f} s. The goal is safe: it is on record and "
            "goes on without this wait.",
            fix=f"When Redis answers again, re-join it: llmos watch {goal_id}",
        )


def follow(
    line: Line, goal_id: str, *, after: str = START, until: float | None = None
) -> Iterator[GoalEvent]:
    """The goal's events after ``after``, until its last one or the steady time ``until``.

    Raises GoalNotFound, BrokerUnavailable.
    """
    ended, block = False, None
    while True:
        batch = line.ask(goal_id, partial(_news, goal_id, after, block))
        for event in batch:
            yield event
            after = event.event_id
        if batch and is_end(batch[-1]):
            return
        if not batch:
            if ended or _over(line.clock, until):
                return
            # The final event may have been read before, or be gone with older ones.
            ended = line.ask(goal_id, lambda goals: goals.state(goal_id)).final
        block = None if ended else _block_ms(line.clock, until)


def wait_for_outcome(line: Line, goal_id: str, until: float | None) -> Outcome | None:
    """The goal's outcome, or None when ``until`` (steady time) comes first."""
    after = START
    while True:
        if outcome := line.ask(goal_id, lambda goals: goals.outcome(goal_id)):
            return outcome
        if _over(line.clock, until):
            return None
        block = _block_ms(line.clock, until)
        batch = line.ask(goal_id, partial(_news, goal_id, after, block))
        if batch:
            after = batch[-1].event_id
        else:
            line.ask(goal_id, lambda goals: goals.state(goal_id))  # GoalNotFound once it expired


def is_end(event: GoalEvent) -> bool:
    """Whether the event says that the goal reached a final state."""
    return event.kind == GoalEventKind.STATE and event.data.get("state") in FINAL_STATES


def _news(goal_id: str, after: str, block_ms: int | None, goals: GoalStore) -> list[GoalEvent]:
    return goals.events(goal_id, after=after, block_ms=block_ms)


def _over(clock: Clock, until: float | None) -> bool:
    return until is not None and clock.steady() >= until


def _block_ms(clock: Clock, until: float | None) -> int:
    """How long one read may wait; at least 1, since 0 waits for ever."""
    if until is None:
        return BLOCK_MS
    return max(1, min(BLOCK_MS, int((until - clock.steady()) * 1_000)))
