"""The members of a plan: who of them may start now, with what money and which rights."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmos_workers.contracts.bounds import intersection
from llmos_workers.contracts.errors import BudgetExceeded, InvalidOption
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState, Member
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.run import Run
from llmos_workers.kernel import telemetry
from llmos_workers.kernel.board import Board
from llmos_workers.kernel.children import Place
from llmos_workers.kernel.goals import new_record

_NAMESPACE = uuid.UUID("0f6c4f0e-5d5b-5b7e-8b1c-3a7d1f2f9d11")
ERA_TRIES = 1_000
"""More than a step is ever tried in one era; a member's attempt tells both."""
AFTERWARDS = 2
"""Shares of the money that are kept for summary and review; each step has one."""


@dataclass(frozen=True)
class Standing:
    """How far a step is."""

    step: PlanStep
    tries: int = 0
    live: bool = False
    goal_id: str = ""
    """Of the newest try."""
    outcome: Outcome | None = None

    @property
    def ok(self) -> bool:
        """Whether its work is done."""
        return self.outcome is not None and self.outcome.ok


@dataclass(frozen=True)
class FanOut:
    """Members to be sent off together: one chord, whose body lets the parent go on."""

    records: tuple[GoalRecord, ...]
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class StillLive:
    """Members work; there is nothing to do but to wait for them."""


def member_id(parent_id: str, step: str, attempt: int) -> str:
    """The goal id of a step's try: always the same one, however often a run begins again."""
    return str(uuid.uuid5(_NAMESPACE, f"{parent_id}\n{step}\n{attempt}"))


def begun(run: Run, era: int) -> dict[str, int]:
    """How often each step was begun since the plan started again for the ``era``th time."""
    tries: dict[str, int] = {}
    for place in run.runtime.children.members(run.record.goal_id).values():
        its, number = divmod(place.attempt, ERA_TRIES)
        if its == era:
            tries[place.step] = max(number, tries.get(place.step, 0))
    return tries


def standings(run: Run, plan: Plan, era: int = 0) -> list[Standing]:
    """How far each step is, in the plan's order."""
    runtime, parent = run.runtime, run.record.goal_id
    tries = begun(run, era)
    newest = {
        step: member_id(parent, step, era * ERA_TRIES + number) for step, number in tries.items()
    }
    records = dict(zip(newest, runtime.goals.get_many(list(newest.values())), strict=True))
    live = runtime.children.live(parent)
    found = []
    for step in plan.steps:
        record = records.get(step.id)
        if record is None:
            # Adopted by a run that died before it stored them: as if never begun.
            found.append(Standing(step, max(0, tries.get(step.id, 0) - 1)))
            continue
        found.append(
            Standing(
                step,
                tries[step.id],
                live=record.goal_id in live and record.outcome is None,
                goal_id=record.goal_id,
                outcome=record.outcome,
            )
        )
    return found


def to_start(standing: Sequence[Standing], tries: int) -> list[Standing]:
    """The steps that can go now: what they need is done, and they are not; failed ones have
    another of their ``tries``.
    """
    done = {each.step.id for each in standing if each.ok}
    return [
        each
        for each in standing
        if not each.ok
        and not each.live
        and all(need in done for need in each.step.needs)
        and (each.outcome is None or _worth_another(each, each.outcome, tries))
    ]


def _worth_another(each: Standing, outcome: Outcome, tries: int) -> bool:
    """Whether to try a step again: what a rule, a person or a clock ended ends the same again."""
    return may_differ(outcome) and each.tries < tries


def may_differ(outcome: Outcome) -> bool:
    """Whether what failed might come off another time."""
    failed = outcome.status in (GoalState.FAILED.value, GoalState.PARTIAL.value)
    why = outcome.error.kind if outcome.error else ""
    return failed and why not in (
        "DeadlineExceeded", "BudgetExceeded", "ToolDenied", "RehearsalFailure"
    )  # fmt: skip


def fan_out(
    run: Run, start: Sequence[Standing], board: Board, *, open_steps: int, era: int = 0
) -> FanOut:
    """The goals of these steps. ``open_steps``: how many of the plan's steps are not done, for
    the shares of the money. Raises BudgetExceeded when nothing is left for them.
    """
    share = _share(run, open_steps)
    taint = run.runtime.children.taint(run.record.goal_id)
    records, places = [], {}
    for each in start:
        attempt = era * ERA_TRIES + each.tries + 1
        options = _options(run, each.step, attempt, board, share=share, taint=taint)
        goal_id = member_id(run.record.goal_id, each.step.id, attempt)
        now = run.runtime.clock.now()
        records.append(
            new_record(
                each.step.goal, options, now=now, goal_id=goal_id,
                traceparent=telemetry.here() or run.record.traceparent,
            )
        )  # fmt: skip
        places[goal_id] = Place(each.step.id, attempt)
    return FanOut(tuple(records), places)


def ends_at(run: Run) -> float:
    """Unix time at which the plan is over, done or not."""
    longest = run.record.created_at + run.runtime.config.orchestration.max_secs
    deadline = run.record.options.deadline
    return longest if deadline is None else min(longest, deadline)


def grants_of(run: Run) -> tuple[str, ...]:
    """Tools that the goal's members may be granted: what the goal itself may use."""
    runtime, options = run.runtime, run.record.options
    general = runtime.config.orchestration.grants
    free = options.agent is None and bool(general)
    mine = set(general if free else agent_of(run).tools)
    if options.member is not None:
        mine &= set(options.member.grants)
    return tuple(sorted(mine))


def _bounds_of(run: Run) -> dict[str, dict[str, tuple[float, float]]]:
    """Ranges of numbers that hold for the goal itself."""
    options = run.record.options
    above = options.member.bounds if options.member else {}
    return intersection(agent_of(run).bounds, above)


def _options(
    run: Run, step: PlanStep, attempt: int, board: Board, *, share: int | None, taint: str
) -> GoalOptions:
    own = run.record.options
    return GoalOptions(
        project=own.project,
        agent=step.agent,
        budget_micro=share,
        concurrency_key=own.concurrency_key,
        priority=own.priority,
        deadline=ends_at(run),
        member=Member(
            parent_id=run.record.goal_id,
            depth=run.record.depth + 1,
            step=step.id,
            attempt=attempt,
            grants=grants_of(run),
            bounds=_bounds_of(run),
            place=board.place,
            tainted=taint,
        ),
    )


def _share(run: Run, open_steps: int) -> int | None:
    """Micro-dollars for each member: an equal part of what is left of the goal's budget. All
    shares together are no more than that, and only members spend while the parent waits: what is
    promised is there. What a member leaves goes to those after it.
    """
    if run.record.options.budget_micro is None:
        return None
    scope = f"goal:{run.record.goal_id}"
    (state,) = run.runtime.economy.states([scope])
    if state.lifetime.limit_micro is None:
        try:
            run.runtime.economy.set_limit(scope, run.record.options.budget_micro)
        except InvalidOption as error:
            raise _spent(run, 0) from error
        (state,) = run.runtime.economy.states([scope])
    left = state.lifetime.left_micro or 0
    share = left // (open_steps + AFTERWARDS)
    if share <= 0:
        raise _spent(run, left)
    return share


def _spent(run: Run, left: int) -> BudgetExceeded:
    limit = run.record.options.budget_micro or 0
    return BudgetExceeded(f"goal:{run.record.goal_id}", needed=1, available=left, limit=limit)
