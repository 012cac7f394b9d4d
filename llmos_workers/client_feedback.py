"""Giving feedback from a client: on record first, then taken up by a worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmos_workers.client_connect import talking
from llmos_workers.contracts.feedback import Feedback
from llmos_workers.kernel.feedback import FeedbackBox, make_feedback

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS

LOOK_EVERY_S = 0.05


def say(
    client: LLMOS, goal_id: str, verdict: str, *, why: str, by: str | None, wait_s: float
) -> Feedback:
    """Store feedback, and wait for a worker to act on it; see LLMOS.feedback."""
    with talking(client.place, "giving feedback"):
        record = client.goals.get(goal_id)
    given = make_feedback(record, verdict, why=why, by=by, now=client.clock.now())
    with talking(client.place, "giving feedback"):
        box = FeedbackBox(client.redis, kept_s=client.config.kernel.result_retention_secs)
        box.give(given, client.broker)
        until = client.clock.steady() + wait_s
        while client.clock.steady() < until:
            found = box.of_goal(goal_id)
            if found is None or found.applied:
                return found or given
            time.sleep(LOOK_EVERY_S)
    return given
