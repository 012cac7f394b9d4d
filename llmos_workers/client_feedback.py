"""How goals are judged, from a client: a person's feedback."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmos_workers.client_connect import Connection, talking

if TYPE_CHECKING:
    from llmos_workers.contracts.feedback import Feedback

LOOK_EVERY_S = 0.05


class Judging(Connection):
    """The part of a client for people's word on goals that have ended."""

    def feedback(
        self,
        goal_id: str,
        verdict: str,
        *,
        why: str = "",
        by: str | None = None,
        wait_s: float = 5.0,
    ) -> Feedback:
        """Say that an ended goal was done ``good`` or ``bad``; docs/judge.md tells what follows.

        Waits up to ``wait_s`` seconds for a worker to take it up (``applied``); it is on record
        in any case. Raises GoalNotFound, NotFinished, InvalidOption, BrokerUnavailable.
        """
        from llmos_workers.kernel.feedback import FeedbackBox, make_feedback

        with talking(self.place, "giving feedback"):
            record = self.goals.get(goal_id)
        given = make_feedback(record, verdict, why=why, by=by, now=self.clock.now())
        with talking(self.place, "giving feedback"):
            box = FeedbackBox(self.redis, kept_s=self.config.kernel.result_retention_secs)
            box.give(given, self.broker)
            until = self.clock.steady() + wait_s
            while self.clock.steady() < until:
                found = box.of_goal(goal_id)
                if found is None or found.applied:
                    return found or given
                time.sleep(LOOK_EVERY_S)
        return given
