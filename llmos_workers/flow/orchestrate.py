"""Orchestrate: a goal is split by a plan, its parts are goals of their own, the whole is reviewed.

One call is one visit: it looks at what the members' records say and does the next thing, which is
to send members off, to wait for them, or to end. Nothing is kept between visits but the journal
(plan, reviews), the members' records and the board, so that a visit may die anywhere: the next
one comes to the same answer. Members have ids that follow from the step, so none is sent off
twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from llmos_workers.contracts.errors import (
    DeadlineExceeded,
    GoalStateError,
    LLMOSError,
    PublishConflict,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.plan import Plan
from llmos_workers.contracts.state import TriggerType
from llmos_workers.flow.agents import DEFAULT_AGENT
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.plan import allowed, find_plan
from llmos_workers.flow.plan_desk import REVIEW_TURN, Course, Desk, Planned
from llmos_workers.flow.plan_end import KNOWN_PARTS, Review, Visit, finish, review, view_of
from llmos_workers.flow.plan_members import (
    FanOut,
    Standing,
    StillLive,
    begun,
    ends_at,
    fan_out,
    may_differ,
    standings,
    to_start,
)
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.flow.run import Run
from llmos_workers.flow.verdict_label import label
from llmos_workers.kernel.clock import iso
from llmos_workers.learning.plan_prompts import single
from llmos_workers.learning.plan_trace import trace_of_plan
from llmos_workers.learning.planning import BadPlan
from llmos_workers.sentience.manager import Felt

log = logging.getLogger(__name__)

MOST_AGAIN = 2
"""How often a known plan starts again."""
PLAN_ENDED = 100
"""More rounds than any limit allows."""


def orchestrate(run: Run) -> Outcome | Handover | FanOut | StillLive:
    """The goal's next step; a plan of one step is a LEARNER's goal.

    Raises BadPlan (a plan was asked for by name, and none is sound), ApprovalNeeded, ToolDenied,
    Cancelled, DeadlineExceeded, LeaseLost, RateLimited, BudgetExceeded and model errors while
    nothing was begun.
    """
    desk = Desk(run)
    run.guards.check()
    if run.runtime.clock.now() >= ends_at(run):
        raise DeadlineExceeded(
            "the plan took longer than its goal has.",
            fix="Raise orchestration.max_secs or the goal's deadline, or split the goal.",
        )
    if desk.course.planned is None:
        planned = _settled(run, desk)
        if not isinstance(planned, Planned):
            return planned
        desk.go_by(planned)
    return _go_on(run, desk, desk.course)


def _settled(run: Run, desk: Desk) -> Planned | Outcome | Handover:
    """The plan to go by, once it is sound and allowed; or what comes in its place."""
    try:
        planned = find_plan(run, desk)
    except BadPlan as error:
        if run.record.options.mode is RequestedMode.ORCHESTRATOR:
            raise
        return _to_learner(run, f"no sound plan was found ({error.message})")
    if run.record.options.plan_only:
        return _shown(run, desk, planned)
    if single(planned.plan):
        return _to_learner(run, "its plan has one step")
    allowed(run, planned.plan)
    return planned


def _go_on(run: Run, desk: Desk, course: Course) -> Outcome | Handover | FanOut | StillLive:
    """Rounds: the plan, then what reviewers added to it, as far as the journal has them."""
    runtime, settings = run.runtime, run.runtime.config.orchestration
    planned, era = course.planned, course.era
    if planned is None:
        raise RuntimeError("a plan is settled before it is carried out")
    if era and not begun(run, era):
        if runtime.children.live(run.record.goal_id):
            return StillLive()
        runtime.boards.drop(run.record.place, run.record.goal_id)
        runtime.children.forget_reads(run.record.goal_id)
    board = runtime.boards.open(run.record.place, run.guards.keeper.lease)
    plan, repaired = planned.plan, 0
    for round_ in range(PLAN_ENDED):
        standing = standings(run, plan, era)
        if any(each.live for each in standing):
            return StillLive()
        reviewed = desk.answered(REVIEW_TURN + round_)
        start = [] if reviewed else to_start(standing, settings.step_tries)
        if start:
            open_steps = sum(not each.ok for each in standing)
            return fan_out(run, start, board, open_steps=open_steps, era=era)
        visit = Visit(run, desk, Planned(plan, planned.source), standing, board)
        found = review(visit, round_)
        if not found.repairs or round_ >= settings.repair_rounds:
            return _end(visit, found, repaired)
        repaired += len(found.repairs)
        plan = Plan(steps=(*plan.steps, *found.repairs))
    raise RuntimeError("a plan has fewer rounds")


def _end(visit: Visit, found: Review, repaired: int) -> Outcome | Handover | FanOut | StillLive:
    run, planned = visit.run, visit.planned
    outcome = finish(visit, found, repaired=repaired)
    run.guards.keeper.check()
    if planned.known and visit.desk.course.era < MOST_AGAIN and (why := _why_again(visit, outcome)):
        if why.anew:
            _count(run, planned, outcome)
        visit.desk.start_again(why.words, anew=why.anew)
        return orchestrate(run)
    _feel(run, outcome, planned)
    if planned.known:
        _count(run, planned, outcome)
        return outcome
    if not outcome.ok or repaired:
        return outcome
    return outcome.model_copy(update={"learned_trace_id": _learn(visit, outcome)})


@dataclass(frozen=True)
class _Again:
    words: str
    anew: bool


def _why_again(visit: Visit, outcome: Outcome) -> _Again | None:
    """Why a known plan is carried out from its beginning once more; None: it is not. Its files
    were changed by another goal, as a replay starts again for; or nothing of it came off in the
    project as it is now: then another plan is made.
    """
    if outcome.error is None or outcome.status != GoalState.FAILED.value:
        return None
    if outcome.error.kind == PublishConflict.__name__:
        return _Again(outcome.error.message, anew=False)
    tried = [each.outcome for each in visit.standing if each.outcome is not None]
    if all(may_differ(each) for each in tried):
        return _Again("the known plan did not do here, another one is made", anew=True)
    return None


def _learn(visit: Visit, outcome: Outcome) -> str | None:
    """Save the plan as a trace. Failing to save never fails the goal."""
    run, desk, record = visit.run, visit.desk, visit.run.record
    trace = trace_of_plan(
        visit.planned.plan,
        record.text,
        project=run.project,
        goal_id=record.goal_id,
        agent=record.options.agent or DEFAULT_AGENT,
        model=desk.model,
        created_at=iso(run.runtime.clock.now()),
        cost_micro=sum(answer.cost_micro for answer in desk.answers.values()),
        duration_s=outcome.duration_s,
        tainted=bool(outcome.tainted),
        answer=outcome.text,
    )
    label(run, trace)
    try:
        return run.runtime.traces.save_trace(trace, lease=run.guards.keeper.lease).trace_id
    except GoalStateError:
        raise
    except LLMOSError as error:
        run.runtime.notice(record.goal_id, f"done, but its plan is not learned: {error}")
        return None


def _count(run: Run, planned: Planned, outcome: Outcome) -> None:
    run.runtime.traces.update_trace_stats(
        run.project,
        planned.source,
        success=outcome.ok,
        cost_micro=outcome.cost_micro,
        saved_micro=0,
        latency_ms=outcome.duration_s * 1_000,
        outcome_id=run.record.goal_id,
        lease=run.guards.keeper.lease,
    )


def _feel(run: Run, outcome: Outcome, planned: Planned) -> None:
    """The members' own runs tell what they cost; here only whether the whole came off."""
    known = planned.known and outcome.plan is not None and outcome.plan.review == KNOWN_PARTS
    if known:
        return
    trigger = TriggerType.TASK_SUCCESS if outcome.ok else TriggerType.TASK_FAILURE
    why = "a plan came off" if outcome.ok else "a plan did not come off"
    run.runtime.sentience.trigger_all(
        [Felt(trigger, why)], project=run.project, lease=run.guards.keeper.lease
    )


def _to_learner(run: Run, why: str) -> Handover:
    reason = f"{run.decision.reason}; {why}"
    decision = run.decision.model_copy(
        update={"mode": Mode.LEARNER, "reason": reason, "trace_id": None, "trace_version": None}
    )
    return Handover(decision, ())


def _shown(run: Run, desk: Desk, planned: Planned) -> Outcome:
    """The plan of a goal that only asked for it."""
    standing = [Standing(step) for step in planned.plan.steps]
    outcome = make_outcome(
        run.record,
        GoalState.SUCCEEDED,
        now=run.runtime.clock.now(),
        decision=run.decision,
        llm_calls=len(desk.answers),
        cost_micro=run.runtime.spent_on(run.record.goal_id),
    )
    return outcome.model_copy(update={"plan": view_of(planned, standing)})
