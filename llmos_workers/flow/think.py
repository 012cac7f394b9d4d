"""Think: a model works on the goal (LEARNER), or with the help of a similar trace (MIXED)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.execution.llm import CallContext
from llmos_workers.flow.guards import RunGuards
from llmos_workers.flow.learn import learn
from llmos_workers.flow.outcomes import make_outcome

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

DEFAULT_AGENT = "system-agent"
HIGH_COST_MICRO = 500_000
"""Cost of one run from which it weighs on energy: the reference's estimate of a LEARNER run."""


def think(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    guards: RunGuards,
    done: tuple[TraceStep, ...] = (),
) -> Outcome:
    """Run the agent loop and learn from a success.

    Raises Cancelled, DeadlineExceeded, LeaseLost, BudgetExceeded (nothing could start),
    UnknownAgent, UnknownModel.
    """
    experience = _experience(runtime, record, decision)
    task = _task(runtime, record, decision, experience, done)
    started = runtime.clock.steady()
    result = runtime.agent_loop.run(
        task,
        runtime.gate_context(record, decision, guards, source="model", agent=task.agent),
        _call_context(runtime, record, guards),
        before_turn=guards.check,
    )
    guards.check()
    duration_s = runtime.clock.steady() - started
    _feel(runtime, record, decision, result)
    saved_micro = 0
    if result.error is None:
        if decision.mode is Mode.MIXED and experience is not None:
            saved_micro = max(0, experience.learn_cost_micro - result.cost_micro)
        learn(runtime, record, decision, task, result, guards, duration_s)
    if saved_micro:
        runtime.economy.record_saved(
            goal_id=record.goal_id, project=record.project, mode="MIXED", micro=saved_micro
        )
    return make_outcome(
        record,
        GoalState.SUCCEEDED if result.error is None else GoalState.FAILED,
        now=runtime.clock.now(),
        decision=decision,
        text=result.text,
        steps=result.steps,
        usage=result.usage,
        llm_calls=result.llm_calls,
        cost_micro=result.cost_micro,
        saved_micro=saved_micro,
        error=result.error,
    )


def _experience(
    runtime: Runtime, record: GoalRecord, decision: ModeDecision
) -> ExecutionTrace | None:
    if decision.mode is not Mode.MIXED or decision.trace_id is None:
        return None
    return runtime.traces.get(record.project, decision.trace_id)


def _task(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    experience: ExecutionTrace | None,
    done: tuple[TraceStep, ...],
) -> AgentTask:
    agent = runtime.agents.get(record.options.agent or DEFAULT_AGENT)
    sdk = runtime.config.sdk
    return AgentTask(
        goal=record.text,
        agent=agent,
        model=runtime.prices.resolve(agent.model or sdk.model),
        max_turns=min(agent.max_turns or sdk.max_turns, sdk.max_turns),
        max_tokens=sdk.max_tokens,
        context=runtime.state_for_prompt(record.project),
        experience=experience,
        done=done,
        purpose="mixed" if decision.mode is Mode.MIXED else "learn",
    )


def _call_context(runtime: Runtime, record: GoalRecord, guards: RunGuards) -> CallContext:
    return CallContext(
        goal_id=record.goal_id,
        project=record.project,
        lease=guards.keeper.lease,
        goal_budget_micro=record.options.budget_micro,
        cancelled=guards.cancelled,
        deadline=record.options.deadline,
        on_event=runtime.progress(record.goal_id),
    )


def _feel(
    runtime: Runtime, record: GoalRecord, decision: ModeDecision, result: AgentResult
) -> None:
    """Tell the internal state how it went."""
    project = record.project
    cost_usd = result.cost_micro / 1e6
    if decision.mode is Mode.LEARNER:
        runtime.feel(TriggerType.NOVEL_TASK, "a new kind of goal", project=project)
    if result.error is None:
        runtime.feel(
            TriggerType.TASK_SUCCESS, "goal solved by the model", project=project, cost_usd=cost_usd
        )
    else:
        runtime.feel(TriggerType.TASK_FAILURE, result.error.kind, project=project)
    if result.cost_micro >= HIGH_COST_MICRO:
        runtime.feel(TriggerType.HIGH_COST, "an expensive run", project=project, cost_usd=cost_usd)
