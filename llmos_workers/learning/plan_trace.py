"""A plan as a trace: each step is a call of ``delegate``, which is no tool. Pure.

A goal whose plan is known is carried out without asking the planner. No value of a plan may vary:
what a planner made of one goal says nothing of another, so only its wordings are followed.
"""

from __future__ import annotations

from collections.abc import Collection

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.learning.followable import DEMOTED_AFTER
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
    return ExecutionTrace(
        trace_id=goal_signature(goal),
        project=project,
        goal_signature=goal_signature(goal),
        goal_text=goal,
        steps=tuple(_call(step) for step in plan.steps),
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


def plan_of_trace(trace: ExecutionTrace) -> Plan:
    """The plan that a trace holds. Raises pydantic's ValidationError for what is none."""
    return Plan(steps=tuple(PlanStep.model_validate(each.call.arguments) for each in trace.steps))


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
