"""Dead letters: goals that were given up after too many starts, and what people do about them.

DEAD is final. A retry is therefore a new goal with the same text and options that names the old
one; retrying twice gives the same new goal. What was retried or dropped leaves the list; the
record itself stays until its retention is over. Plain commands only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import ErrorInfo
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goal_submit import new_record
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client

RETRY_OF = "retry_of"
"""Metadata of a retry: the id of the goal that died."""

Records = list[GoalRecord]


def poisoned(goal_id: str, starts: int) -> ErrorInfo:
    """Why a goal is DEAD, and what to do about it."""
    return ErrorInfo(
        kind="PoisonGoal",
        message=f"given up after {starts} starts that never came to an end.",
        fix="Look for what kills its worker (memory, a crashing tool); then: "
        f"llmos dead retry {goal_id}",
    )


@dataclass(frozen=True)
class DeadLetters:
    """The list of dead goals that nobody saw to yet."""

    redis: Client
    broker: Client
    goals: GoalStore
    clock: Clock

    def list(self, *, project: str | None = None, limit: int = 50) -> Records:
        """The newest first, at most ``limit``."""
        handled = {each.decode() for each in cast(list[bytes], self._handled())}
        asked = limit + len(handled)
        dead = self.goals.list(project=project, state=GoalState.DEAD, limit=asked)
        return [record for record in dead if record.goal_id not in handled][:limit]

    def show(self, goal_id: str) -> GoalRecord:
        """A dead goal, also one that was handled. Raises GoalNotFound; InvalidOption for a goal
        that is not DEAD.
        """
        record = self.goals.get(goal_id)
        if record.state is not GoalState.DEAD:
            raise InvalidOption(
                f"goal {goal_id} is {record.state}, no dead letter.",
                fix="See llmos dead list.",
            )
        return record

    def retry(self, goal_id: str) -> GoalRecord:
        """A new goal that does what the dead one should have done; the old one is handled.

        The same new goal when somebody retried before. A deadline that has passed is left out.
        Raises as ``show``.
        """
        old = self.show(goal_id)
        again, _ = self.goals.create(retry_of(old, self.clock.now()))
        # Found as ACCEPTED: its message may never have been sent; a second one does no harm.
        if again.state is GoalState.ACCEPTED:
            wire.publish(self.broker, [again])
        self._mark(goal_id)
        return again

    def drop(self, goal_id: str) -> bool:
        """Take a dead goal off the list; False when it was handled before. Raises as ``show``."""
        self.show(goal_id)
        return self._mark(goal_id)

    def _mark(self, goal_id: str) -> bool:
        """Remember it as long as its record can be there, and forget those whose is gone."""
        now = self.clock.now()
        with self.redis.pipeline() as pipe:
            pipe.zadd(keys.DEAD_HANDLED, {goal_id: now}, nx=True)
            # Ids that are no longer in the index of dead goals need no mark.
            pipe.zinterstore(
                keys.DEAD_HANDLED,
                {keys.DEAD_HANDLED: 1, keys.goals_in_state(GoalState.DEAD): 0},
            )
            return bool(pipe.execute()[0])

    def _handled(self) -> object:
        return self.redis.zrange(keys.DEAD_HANDLED, 0, -1)


def retry_of(old: GoalRecord, now: float) -> GoalRecord:
    """The record of a dead goal's retry, not stored yet. ``now`` is Unix time."""
    # The key of the dead goal stands for it for ever: the retry has one of its own.
    key = "retry-" + hashlib.sha256(old.goal_id.encode()).hexdigest()[:40]
    deadline = old.options.deadline
    options = old.options.model_copy(
        update={
            "idempotency_key": key,
            "metadata": {**old.options.metadata, RETRY_OF: old.goal_id},
            "deadline": None if deadline is not None and deadline <= now else deadline,
        }
    )
    return new_record(old.text, options, now=now, traceparent=old.traceparent)
