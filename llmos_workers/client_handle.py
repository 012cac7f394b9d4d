"""A submitted goal, as its submitter holds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from llmos_workers.client_connect import talking
from llmos_workers.client_wait import START, Line, follow, is_end, wait_for_outcome
from llmos_workers.contracts.errors import NotFinished
from llmos_workers.contracts.events import GoalEvent
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import Outcome

ASYNC_SLICE_S = 0.5
"""How long a thread of the event loop's pool is held at a time."""


class GoalHandle:
    """A goal by its id: ask how far it is, wait for it, follow it, cancel it.

    The calls without ``a`` in front block; their ``a…`` twins run off the event loop, and
    ``await handle`` is ``await handle.aresult()``. All raise BrokerUnavailable when Redis does
    not answer and GoalNotFound when the goal is past its retention.
    """

    def __init__(self, goal_id: str, line: Line, *, created: bool = False) -> None:
        self._id, self._line = goal_id, line
        self._created = created

    @property
    def id(self) -> str:
        """The goal's id; also the id of its Celery task."""
        return self._id

    @property
    def created(self) -> bool:
        """Whether this submission made the goal; False too for a handle of a looked-up goal."""
        return self._created

    def __repr__(self) -> str:
        return f"GoalHandle({self._id!r})"

    def status(self) -> GoalState:
        """Where the goal is in its life."""
        return self._line.ask(self._id, lambda goals: goals.state(self._id))

    def record(self) -> GoalRecord:
        """Everything that is known about the goal."""
        return self._line.ask(self._id, lambda goals: goals.get(self._id))

    def outcome(self) -> Outcome | None:
        """The outcome if the goal has ended, without waiting."""
        return self._line.ask(self._id, lambda goals: goals.outcome(self._id))

    def result(self, timeout: float | None = None) -> Outcome:
        """Wait for the outcome; a failed goal is an Outcome too, not an exception.

        ``timeout`` is in seconds, None waits for ever. Raises NotFinished (a TimeoutError).
        """
        outcome = wait_for_outcome(self._line, self._id, self._until(timeout))
        if outcome is None:
            raise self._not_finished(timeout)
        return outcome

    def events(self, after: str = START, timeout: float | None = None) -> Iterator[GoalEvent]:
        """The goal's events after the event id ``after``, live, until it ends.

        ``timeout`` in seconds ends the following early, silently. Re-join with the last
        ``event_id`` seen; no event is given twice.
        """
        return follow(self._line, self._id, after=after, until=self._until(timeout))

    def cancel(self) -> GoalState:
        """Ask for the goal's end. A goal that no worker runs is CANCELLED at once; a running one
        stops before its next step. Returns the state after asking.
        """
        line = self._line
        with talking(line.place, f"cancelling goal {self._id}"):
            state, before = line.goals.stop(self._id)
        if before is not None and before.state.waiting:
            # No message is under way that would give Celery the result: let a worker report it.
            line.queue([before])
        return state

    async def astatus(self) -> GoalState:
        """``status`` off the event loop."""
        return await asyncio.to_thread(self.status)

    async def aresult(self, timeout: float | None = None) -> Outcome:
        """``result`` off the event loop; cancelling it leaves the goal alone."""
        until = self._until(timeout)
        while True:
            piece = self._line.clock.steady() + ASYNC_SLICE_S
            end = piece if until is None else min(piece, until)
            outcome = await asyncio.to_thread(wait_for_outcome, self._line, self._id, end)
            if outcome is not None:
                return outcome
            if until is not None and self._line.clock.steady() >= until:
                raise self._not_finished(timeout)

    async def aevents(self, after: str = START) -> AsyncIterator[GoalEvent]:
        """``events`` off the event loop."""
        final = False
        while True:
            batch = await asyncio.to_thread(self._some_events, after)
            for event in batch:
                yield event
                after = event.event_id
            if (batch and is_end(batch[-1])) or (final and not batch):
                return
            final = not batch and (await self.astatus()).final

    async def acancel(self) -> GoalState:
        """``cancel`` off the event loop."""
        return await asyncio.to_thread(self.cancel)

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self.aresult().__await__()

    def _some_events(self, after: str) -> list[GoalEvent]:
        block = int(ASYNC_SLICE_S * 1_000)
        return self._line.ask(
            self._id, lambda goals: goals.events(self._id, after=after, block_ms=block)
        )

    def _until(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._line.clock.steady() + timeout

    def _not_finished(self, timeout: float | None) -> NotFinished:
        return NotFinished(
            f"goal {self._id} is not finished after {timeout or 0:g} s; it goes on.",
            fix=f"Re-join it: llmos watch {self._id}",
        )
