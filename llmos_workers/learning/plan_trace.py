"""A plan as a trace: each step is a call of ``delegate``, which is no tool. Pure.

A goal whose plan is known is carried out without asking the planner, also with other values where
the plan merely carries them (learning.plan_slots).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.learning.followable import DEMOTED_AFTER
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.plan_slots import WORDED, plan_slots
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_seal import objection, taint_objection

DELEGATE = "delegate"


def trace_of_plan(
    plan: Plan,
    goal: str,
    *,
    project: str,
    goal_id: str,
    agent: str,
    model: str,
    created_at: str,
    cost_micro: int,
    duration_s: float,
    tainted: bool,
    answer: str,
) -> ExecutionTrace:
    """The trace of a plan that did its goal."""
    steps = tuple(_call(step) for step in plan.steps)
    return ExecutionTrace(
        trace_id=goal_signature(goal),
        project=project,
        goal_signature=goal_signature(goal),
        goal_text=goal,
        slots=plan_slots(goal, steps),
        steps=steps,
        answer=answer,
        agent=agent,
        mode=Mode.ORCHESTRATOR,
        created_at=created_at,
        learned_from=goal_id,
        model=model,
        learn_cost_micro=cost_micro,
        learn_duration_s=duration_s,
        proved=True,
        proved_by="review",
        tainted=tainted,
        output_summary=f"a plan of {len(plan.steps)} steps",
    )


def plan_of_trace(trace: ExecutionTrace, values: Mapping[str, str] | None = None) -> Plan:
    """The plan that a trace holds, with these values in its slots. Raises pydantic's
    ValidationError for what is none.
    """
    filled = fill(trace.steps, trace.slots, values or {})
    steps = []
    for was, now in zip(trace.steps, filled, strict=True):
        worded = {name: now.call.arguments[name] for name in WORDED & now.call.arguments.keys()}
        steps.append(PlanStep.model_validate(was.call.arguments | worded))
    return Plan(steps=tuple(steps))


def plan_blockers(trace: ExecutionTrace, agents: Collection[str]) -> tuple[str, ...]:
    """Why a known plan may not be carried out now; empty: it may."""
    blockers = [why for why in (objection(trace), taint_objection(trace)) if why]
    if trace.failure_streak >= DEMOTED_AFTER:
        blockers.append(f"version {trace.version} failed {trace.failure_streak} times in a row")
    try:
        named = {step.agent for step in plan_of_trace(trace).steps if step.agent}
    except ValueError:
        return (*blockers, "it holds no plan")
    blockers += [f"its agent {name} is gone" for name in sorted(named - set(agents))]
    return tuple(blockers)


def _call(step: PlanStep) -> TraceStep:
    arguments = step.model_dump(mode="json", exclude_defaults=True)
    return TraceStep(call=ToolCall(name=DELEGATE, arguments=arguments))
