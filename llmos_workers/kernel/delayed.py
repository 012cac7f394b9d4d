"""Goals that wait: put aside by their run, and woken when due or when somebody says so.

A waiting goal holds no worker and no message. Waking sends its message again with the stored
envelope, so it goes on as the same task: results and chords hold. The order is always state
first, message second; a crash between leaves an ACCEPTED goal without a message, which the
recovery clock sends again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import NoScriptError

from llmos_workers.contracts.errors import GoalFinished, IllegalTransition, LeaseLost
from llmos_workers.contracts.goal import FINAL_STATES, WAITING_STATES, GoalState
from llmos_workers.kernel import keys, scripts, wire
from llmos_workers.kernel.goal_codec import pairs, read_known
from llmos_workers.kernel.goal_submit import not_found, state_event
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.redis import Client

BATCH = 200
"""Due goals that are woken with one pipeline of messages."""

_WAITING = f"|{'|'.join(sorted(state.value for state in WAITING_STATES))}|"
_FINALS = f"|{'|'.join(sorted(state.value for state in FINAL_STATES))}|"


@dataclass(frozen=True)
class DelayedGoals:
    """The waiting room of one system. ``redis`` is the state database, ``broker`` the broker's."""

    redis: Client
    broker: Client
    goals: GoalStore

    def park(self, lease: Lease, *, state: GoalState, due: float | None, reason: str) -> bool:
        """End the run in a waiting state, in one step with its lease. False: it was to wait for
        members that have all ended, so it runs on.

        ``due``: Unix time in seconds at which it goes on by itself; None: only ``wake`` helps.
        The run must do nothing more for the goal; its task leaves by ``Ignore``, so that no
        result is stored and a chord goes on waiting. A start that ends so does not count as a
        delivery. Raises LeaseLost; IllegalTransition for a state that is no waiting one;
        GoalFinished, also when a cancel was asked for (the goal is CANCELLED then).
        """
        if state not in WAITING_STATES:
            raise IllegalTransition(f"{state} is no waiting state.")
        return self._leave(lease, state, due, reason)

    def give_back(self, lease: Lease, *, reason: str) -> None:
        """End the run before its goal is done, for another worker to go on: DISPATCHED, in one
        step with the lease; no delivery is counted. The caller puts the message back. Raises
        LeaseLost; GoalFinished, also when a cancel was asked for.
        """
        self._leave(lease, GoalState.DISPATCHED, None, reason)

    def _leave(self, lease: Lease, state: GoalState, due: float | None, reason: str) -> bool:
        extra: dict[str, object] = {"reason": reason}
        if due is not None:
            extra["due"] = due
        args = (lease.fence, lease.owner, state.value, "" if due is None else repr(due), _FINALS)
        code = change(self.redis, "park", lease.goal_id, state_event(state, extra), args)[0]
        if code == b"cancel":
            self.goals.release(lease, state=state)  # makes it CANCELLED and raises GoalFinished
        if code == b"missing":
            raise not_found(lease.goal_id)
        if code == b"finished":
            raise GoalFinished(f"goal {lease.goal_id} has already ended.")
        if code == b"lost":
            raise LeaseLost(f"the run of goal {lease.goal_id} lost its lease.")
        return bool(code != b"ready")

    def wake(self, goal_id: str) -> bool:
        """Let a waiting goal go on now; False when it does not wait. Raises GoalNotFound."""
        code, *rest = self._enter([goal_id], only_due=False)[0]
        if code == b"missing":
            raise not_found(goal_id)
        if code != b"ok":
            return False
        record = read_known(goal_id, pairs(rest[0]))
        return record is not None and bool(wire.publish(self.broker, [record]))

    def move_due(self, now: float, *, limit: int = BATCH) -> int:
        """Wake what is due at ``now`` (Unix time of the server), at most ``limit``; how many."""
        due = cast(list[bytes], self.redis.zrangebyscore(keys.DELAYED, "-inf", now, 0, limit))
        goal_ids = [each.decode() for each in due]
        replies = self._enter(goal_ids, only_due=True)
        found = [
            read_known(goal_id, pairs(rest[0]))
            for goal_id, (code, *rest) in zip(goal_ids, replies, strict=True)
            if code == b"ok"
        ]
        woken = [record for record in found if record is not None]
        return wire.publish(self.broker, woken) if woken else 0

    def _enter(self, goal_ids: Sequence[str], *, only_due: bool) -> list[list[Any]]:
        event = state_event(GoalState.ACCEPTED, {"reason": "goes on after waiting"})
        args = (_WAITING, "1" if only_due else "")
        return change_many(self.redis, "wake", event, [(each, args) for each in goal_ids])


def change(
    redis: Client, op: str, goal_id: str, event: str, args: Sequence[scripts.Argument]
) -> list[Any]:
    """Call lua/recovery.lua for one goal; its reply."""
    return change_many(redis, op, event, [(goal_id, args)])[0]


def change_many(
    redis: Client,
    op: str,
    event: str,
    calls: Sequence[tuple[str, Sequence[scripts.Argument]]],
) -> list[list[Any]]:
    """``change`` for several goals (id, arguments) in one round trip; a reply for each."""
    script = scripts.load("recovery", include=("fence",))
    with redis.pipeline(transaction=False) as pipe:
        for goal_id, args in calls:
            names = [keys.goal(goal_id), keys.goal_events(goal_id), keys.DELAYED, keys.COUNTERS]
            head = (op, goal_id, keys.goals_in_state(""), uuid.uuid4().hex, event)
            pipe.evalsha(script.sha, len(names), *names, *head, *args)
        try:
            return cast(list[list[Any]], pipe.execute())
        except NoScriptError:
            redis.script_load(script.text)
    # None of them was known, so none was done.
    return change_many(redis, op, event, calls)
