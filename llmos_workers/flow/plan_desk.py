"""What a parent asked its models and decided, journaled: its visits come to the same answers.

The plan that a goal goes by is kept: which plans and agents are known may change between visits,
and members are told apart by the steps of one plan. A plan may start again (``Course.era``): then
nothing of what its members did counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmos_workers.contracts.plan import Plan
from llmos_workers.execution.llm_contracts import (
    PLAN_KIND,
    CallContext,
    ModelRequest,
    ModelResponse,
    read_journal_entry,
)
from llmos_workers.flow.permit import permit
from llmos_workers.flow.progress import Progress
from llmos_workers.flow.run import Run
from llmos_workers.flow.think import call_context
from llmos_workers.kernel import codec

PLAN_TURN, PLAN_REPAIR_TURN = 0, 1
SUMMARY_TURN, REVIEW_TURN = 100, 200
"""Places in the journal; a round of repair adds one."""
ERA_TURNS = 1_000
"""More than one era has."""

USED_KIND, AGAIN_KIND = "plan-used", "plan-again"
VERSION = 1

PLANNER_SOURCE = "planner"


@dataclass(frozen=True)
class Planned:
    """A goal's plan, and where it comes from."""

    plan: Plan
    source: str
    """PLANNER_SOURCE, or the id of the trace that holds it."""

    @property
    def known(self) -> bool:
        """Whether nobody had to make it."""
        return self.source != PLANNER_SOURCE


@dataclass(frozen=True)
class Course:
    """How far a goal is with its plans."""

    era: int = 0
    """How often it started again."""
    planned: Planned | None = None
    """The plan that it goes by now; None: there is none yet."""
    anew: bool = False
    """Whether what is known as its plan did not do."""


class Desk:
    """Asks models for the parent: each answer is bought once and journaled."""

    def __init__(self, run: Run) -> None:
        self._run, self._runtime = run, run.runtime
        self._progress = Progress(
            self._runtime.goals, run.record.goal_id, fence=run.guards.keeper.lease.fence
        )
        self._context: CallContext = call_context(run, self._progress)
        entries = self._runtime.goals.journal(run.record.goal_id)
        self.course = _course(entries)
        self._answers = _answers(entries, self.course.era)
        sdk, own = self._runtime.config.sdk, self._runtime.config.orchestration
        self.model = self._runtime.prices.resolve(own.planner_model or sdk.model)

    def ask(
        self,
        turn: int,
        system: str,
        messages: list[dict[str, Any]],
        *,
        purpose: str,
        schema: dict[str, Any] | None = None,
    ) -> ModelResponse:
        """The answer for ``turn``. Raises what a model call raises, and what ends a run."""
        kept = self._answers.get(turn)
        if kept is not None:
            return kept
        self._run.guards.before_step()
        permit(self._run)
        request = ModelRequest(
            model=self.model,
            system=[{"type": "text", "text": system}],
            messages=messages,
            max_tokens=self._runtime.config.orchestration.max_tokens,
            purpose=purpose,
            output_schema=schema,
            turn=turn + self.course.era * ERA_TURNS,
            journal_kind=PLAN_KIND,
        )
        self._context.on_event("model_call", {"turn": turn, "model": self.model})
        response = self._runtime.gateway.complete(request, self._context)
        self._progress.flush()
        self._answers[turn] = response
        return response

    def answered(self, turn: int) -> bool:
        """Whether the answer for ``turn`` is there."""
        return turn in self._answers

    @property
    def answers(self) -> Mapping[int, ModelResponse]:
        """All answers so far."""
        return self._answers

    def go_by(self, planned: Planned) -> None:
        """Keep to this plan from now on. Raises LeaseLost, GoalFinished."""
        steps = planned.plan.model_dump(mode="json")["steps"]
        self._write({"kind": USED_KIND, "source": planned.source, "steps": steps})
        self.course = replace(self.course, planned=planned)

    def start_again(self, why: str, *, anew: bool) -> None:
        """Begin from the beginning, with nothing of what was done; ``anew``: with another plan.
        Raises LeaseLost, GoalFinished.
        """
        self._write({"kind": AGAIN_KIND, "anew": anew, "why": why})
        self._runtime.notice(self._run.record.goal_id, f"its plan starts again: {why}")

    def _write(self, entry: dict[str, Any]) -> None:
        lease = self._run.guards.keeper.lease
        self._runtime.goals.append_journal(lease, codec.pack({"v": VERSION, **entry}))


def _course(entries: Iterable[bytes]) -> Course:
    course = Course()
    for data in entries:
        entry = codec.unpack(data)
        if not isinstance(entry, dict) or entry.get("v") != VERSION:
            continue
        if entry.get("kind") == AGAIN_KIND:
            course = Course(course.era + 1, anew=course.anew or bool(entry["anew"]))
        elif entry.get("kind") == USED_KIND:
            plan = Plan.model_validate({"steps": entry["steps"]})
            course = replace(course, planned=Planned(plan, entry["source"]))
    return course


def _answers(entries: Iterable[bytes], era: int) -> dict[int, ModelResponse]:
    found = dict(
        pair for entry in entries if (pair := read_journal_entry(entry, PLAN_KIND)) is not None
    )
    first = era * ERA_TURNS
    return {turn - first: said for turn, said in found.items() if turn // ERA_TURNS == era}
