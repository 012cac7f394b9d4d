"""How goals are judged, from a client: feedback, and why a goal would run as it would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from llmos_workers.client_connect import RedisPlace, talking

if TYPE_CHECKING:
    from llmos_workers.client_handle import GoalHandle
    from llmos_workers.config import LLMOSConfig
    from llmos_workers.contracts.feedback import Feedback
    from llmos_workers.contracts.modes import RequestedMode
    from llmos_workers.contracts.outcome import Outcome
    from llmos_workers.kernel.clock import Clock
    from llmos_workers.kernel.goals import GoalStore
    from llmos_workers.kernel.redis import Client

LOOK_EVERY_S = 0.05


class Connected(Protocol):
    """What of a client is used here."""

    config: LLMOSConfig
    clock: Clock

    @property
    def place(self) -> RedisPlace:
        """Which Redis it talks to."""

    @property
    def redis(self) -> Client:
        """Client of the state database."""

    @property
    def broker(self) -> Client:
        """Client of the broker database."""

    @property
    def goals(self) -> GoalStore:
        """The goal records."""

    def submit(
        self,
        goal: str,
        *,
        project: str | None = None,
        mode: str | RequestedMode | None = None,
        budget_usd: float | str | None = None,
        dry_run: bool = False,
        plan_only: bool = False,
    ) -> GoalHandle:
        """Hand a goal to the workers."""


class Opinions:
    """The part of a client for how goals are judged, by people and by llmos."""

    def explain(
        self: Connected, goal: str, *, project: str | None = None, timeout: float | None = 30.0
    ) -> Outcome:
        """What would be done with a goal, and why: ``dry_run`` of the outcome. Runs nothing and
        asks no model. ``timeout`` in seconds. Raises as submit; NotFinished.
        """
        return self.submit(goal, project=project, dry_run=True).result(timeout)

    def plan(
        self: Connected, goal: str, *, project: str | None = None,
        budget_usd: float | str | None = None, timeout: float | None = 300.0,
    ) -> Outcome:  # fmt: skip
        """How a goal would be split: ``plan`` of the outcome. A known plan costs nothing, a new
        one its planner's calls; nothing is carried out. ``timeout`` in seconds. Raises as submit;
        NotFinished.
        """
        asked = self.submit(
            goal, project=project, mode="ORCHESTRATOR", budget_usd=budget_usd, plan_only=True
        )
        return asked.result(timeout)

    def feedback(
        self: Connected,
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
