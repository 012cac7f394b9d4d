"""Single flight: of goals that would learn the same, one learns and the others wait for it.

Whoever is dispatched to a model, or whose replay broke and needs one, asks ``join`` first: the
first one leads the flight, the others are WAITING_FLIGHT, without a worker and without a message.
When the leader ends, ``land`` lets them go on: after a success all of them, to be decided anew;
after a failure exactly one, as the next leader. After MOST_FAILURES in a row the series is given
up: goals that are the very same as those that failed fail with the same reason, all others go
their own way. A leader that was cancelled or ran out of its own time is followed by another, and
counts for nothing.

Nothing depends on ``land`` being called: ``tick`` (recovery clock) finds flights whose leader's
record has ended or is gone, and ``join`` takes over from such a leader. A leader that lives and
waits (for a person, for the endpoint) keeps the others waiting, as long as its own record does.
A name says what is learned, within a project; who gives it decides who is alike (flow/flight).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from llmos_workers.contracts.errors import Cancelled, DeadlineExceeded, LeaseLost
from llmos_workers.contracts.goal import FINAL_STATES, GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.kernel import keys, scripts, wire
from llmos_workers.kernel.admission import PRIORITY_WEIGHT
from llmos_workers.kernel.goal_submit import not_found, state_event
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.redis import Client

MOST_FAILURES = 3
"""Leaders in a row that may fail before the others are no longer tried one by one."""

BATCH = 500
"""Goals that are released at once."""

FLIGHTS = 5_000
"""Flights that one tick looks at, the oldest first."""

_FINALS = f"|{'|'.join(sorted(state.value for state in FINAL_STATES))}|"
_OWN_FAULT = (Cancelled.__name__, DeadlineExceeded.__name__)


class Verdict(StrEnum):
    """What a leader's end says to those that wait."""

    OK = "ok"
    FAILED = "failed"
    LEFT = "left"
    """It ended for a reason of its own; nothing is known."""


@dataclass(frozen=True)
class Boarding:
    """The answer to a goal that wants to learn: it goes, or waits."""

    go: bool = False
    """It leads; ``look_again``: something landed lately, perhaps after it was decided."""
    look_again: bool = False
    waits_for: str | None = None
    """Goal id of the leader; the goal is WAITING_FLIGHT now."""


def verdict_of(outcome: Outcome | None) -> Verdict:
    """What the end of a leader means; None: its record is gone."""
    if outcome is None or outcome.status == GoalState.CANCELLED:
        return Verdict.LEFT
    if outcome.status in (GoalState.SUCCEEDED, GoalState.PARTIAL):
        return Verdict.OK
    own = outcome.error is not None and outcome.error.kind in _OWN_FAULT
    return Verdict.LEFT if own else Verdict.FAILED


@dataclass(frozen=True)
class Flights:
    """All flights of one system. ``redis`` is the state database, ``broker`` the broker's."""

    redis: Client
    broker: Client
    goals: GoalStore

    def join(
        self,
        record: GoalRecord,
        name: str,
        *,
        same: str,
        envelope: TaskEnvelope | None = None,
        lease: Lease | None = None,
    ) -> Boarding:
        """Lead the flight of that name, or wait for it in ``envelope`` (None: the stored one).

        ``same``: equal for goals that fail alike (text and options that matter). ``lease``: the
        run that asks; where the goal has to wait, the run has ended with it. A deadline
        wakes a waiting goal. Asking twice does no harm. Raises GoalNotFound, LeaseLost.
        """
        place = record.options.priority * PRIORITY_WEIGHT + record.created_at
        due = "" if record.options.deadline is None else repr(record.options.deadline)
        why = "an equal goal is being learned; waits for what comes of it"
        event = state_event(GoalState.WAITING_FLIGHT, {"reason": why})
        kept = envelope.model_dump_json() if envelope else ""
        args = (record.goal_id, same, repr(place), kept, due, event, *_of(lease))
        code, *rest = self._run("join", name, args)
        if code == b"missing":
            raise not_found(record.goal_id)
        if code == b"lost":
            raise LeaseLost(f"the run of goal {record.goal_id} lost its lease.")
        if code == b"wait":
            return Boarding(waits_for=rest[0].decode())
        return Boarding(go=True, look_again=rest[0] == b"1")

    def again(self, lease: Lease, *, reason: str) -> None:
        """End a run whose decision is out of date: its goal is ACCEPTED and decided anew, which
        counts as a flight that it waited for. Raises LeaseLost.
        """
        event = state_event(GoalState.ACCEPTED, {"reason": reason})
        if self._run("again", "", (lease.goal_id, event, *_of(lease)))[0] != b"ok":
            raise LeaseLost(f"the run of goal {lease.goal_id} lost its lease.")
        self._send([lease.goal_id])

    def land(self, outcome: Outcome) -> int:
        """A goal ended: if it led a flight, let those go on that wait; how many."""
        name = cast(bytes | None, self.redis.hget(keys.goal(outcome.goal_id), "flight"))
        if name is None:
            return 0
        return self._land(name.decode(), outcome.goal_id, verdict_of(outcome), outcome.error)

    def give_way(self, record: GoalRecord) -> int:
        """The goal leads a flight and need not learn after all: what is looked for is known."""
        if record.flight is None:
            return 0
        return self._land(record.flight, record.goal_id, Verdict.OK, None)

    def tick(self) -> int:
        """Let go on whoever waits for a leader that has ended; how many."""
        found = self._run("ended", "", (keys.flight(""), FLIGHTS))
        names = [each.decode() for each in found]
        count = 0
        for name, leader in zip(names[::2], names[1::2], strict=True):
            if leader:
                (record,) = self.goals.get_many([leader])
                outcome = record.outcome if record else None
                error = outcome.error if outcome else None
                count += self._land(name, leader, verdict_of(outcome), error)
            else:
                count += self._release(name)
        return count

    def waiting(self, name: str) -> int:
        """Goals that wait for a flight; may count some that have ended."""
        return self.redis.zcard(keys.flight_waiting(name))

    # -- inside ----------------------------------------------------------------------------

    def _land(self, name: str, leader: str, verdict: Verdict, error: ErrorInfo | None) -> int:
        problem = (error or ErrorInfo(kind="Failed", message="it failed")).model_dump_json()
        event = state_event(GoalState.ACCEPTED, {"reason": "the goal it waited for ended; learns"})
        args = (leader, verdict.value, problem, MOST_FAILURES, event)
        code, *rest = self._run("land", name, args)
        if code == b"next":
            return self._send([rest[0].decode()])
        return self._release(name) if code == b"open" else 0

    def _release(self, name: str) -> int:
        event = state_event(GoalState.ACCEPTED, {"reason": "the goal it waited for ended"})
        count = 0
        while ids := self._run("release", name, (BATCH, event)):
            count += self._send([each.decode() for each in ids])
        return count

    def _send(self, goal_ids: Sequence[str]) -> int:
        records = [each for each in self.goals.get_many(goal_ids) if each is not None]
        return wire.publish(self.broker, records)

    def _run(self, op: str, name: str, args: Sequence[scripts.Argument]) -> list[bytes]:
        names = [
            keys.flight(name),
            keys.flight_waiting(name),
            keys.FLIGHTS,
            keys.DELAYED,
            keys.COUNTERS,
        ]
        head = (op, name, keys.goal(""), keys.goals_in_state(""), uuid.uuid4().hex, _FINALS)
        script = scripts.load("flight", include=("fence",))
        return cast(list[bytes], script.run(self.redis, names, (*head, *args)))


def _of(lease: Lease | None) -> tuple[str, str]:
    return (str(lease.fence), lease.owner) if lease else ("", "")
