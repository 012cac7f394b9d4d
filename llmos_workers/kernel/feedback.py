"""Feedback on its way from whoever gives it to the worker that acts on it.

Giving needs plain commands only: what was said is stored, and the goal's id queued in a list of
ours. A message in the dispatch queue makes a worker look at once; should it be lost, the upkeep
role looks too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from llmos_workers.contracts.errors import InvalidOption, NotFinished
from llmos_workers.contracts.feedback import Feedback, Verdict
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.kernel import keys
from llmos_workers.kernel.approvals import who
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.wire import DISPATCH_QUEUE, plain_message

FEEDBACK_TASK = "llmos.feedback"
MAX_WHY = 2_000
"""Characters."""
AT_ONCE = 1_000
"""Most that one worker takes up in one go."""

Apply = Callable[[Feedback], str]
"""Acts on feedback and tells in words what it did. Applied twice it must change nothing more."""


class FeedbackBox:
    """What people said of goals. ``kept_s``: how long it is remembered, in seconds."""

    def __init__(self, redis: Client, *, kept_s: int) -> None:
        self._redis, self._kept_s = redis, kept_s

    def give(self, feedback: Feedback, broker: Client) -> None:
        """Store feedback and have a worker look at it; ``broker`` is the broker database."""
        name = keys.goal_feedback(feedback.goal_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(name, feedback.model_dump_json(), ex=self._kept_s)
            pipe.rpush(keys.FEEDBACK, feedback.goal_id)
            pipe.execute()
        broker.lpush(DISPATCH_QUEUE, plain_message(FEEDBACK_TASK))

    def of_goal(self, goal_id: str) -> Feedback | None:
        """The newest feedback on a goal, as far as it is remembered."""
        stored = cast("bytes | None", self._redis.get(keys.goal_feedback(goal_id)))
        return Feedback.model_validate_json(stored) if stored else None

    def drain(self, apply: Apply) -> int:
        """Act on what was not taken up yet; how many. An id leaves the list only after it was
        acted on, so a worker that dies leaves it to the next one.
        """
        waiting = cast(list[bytes], self._redis.lrange(keys.FEEDBACK, 0, AT_ONCE - 1))
        for item in waiting:
            feedback = self.of_goal(item.decode())
            if feedback is not None and not feedback.applied:
                done = feedback.model_copy(update={"applied": True, "told": apply(feedback)})
                self._keep(feedback, done)
            self._redis.lrem(keys.FEEDBACK, 1, item.decode())
        return len(waiting)

    def _keep(self, before: Feedback, after: Feedback) -> None:
        """Store what came of it, unless something newer was said meanwhile."""
        if self.of_goal(before.goal_id) == before:
            name = keys.goal_feedback(before.goal_id)
            self._redis.set(name, after.model_dump_json(), ex=self._kept_s)


def make_feedback(
    record: GoalRecord, verdict: str | Verdict, *, why: str, by: str | None, now: float
) -> Feedback:
    """Check what is said of a goal. Raises InvalidOption; NotFinished for a goal still at work."""
    try:
        wanted = Verdict(str(verdict).strip().lower())
    except ValueError:
        raise InvalidOption(f"{verdict!r} is no feedback.", fix="Say good or bad.") from None
    if len(why) > MAX_WHY:
        raise InvalidOption(f"the reason has more than {MAX_WHY} characters.")
    if record.outcome is None:
        raise NotFinished(
            f"goal {record.goal_id} is {record.state}, not finished: too early to say.",
            fix=f"Follow it: llmos watch {record.goal_id}",
        )
    return Feedback(goal_id=record.goal_id, verdict=wanted, why=why, by=by or who(), at=now)
