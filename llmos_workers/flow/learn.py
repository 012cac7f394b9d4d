"""Learn: a verified success becomes a trace, or a new wording of a known one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import WorkspaceUnwritable
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.flow.guards import RunGuards
from llmos_workers.kernel.clock import iso
from llmos_workers.learning.distill import distill
from llmos_workers.learning.signature import goal_signature

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)


def learn(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    task: AgentTask,
    result: AgentResult,
    guards: RunGuards,
    duration_s: float,
) -> ExecutionTrace | None:
    """Distil and save the run; returns the trace, or None when there is nothing to keep.

    A run that did the very same calls as the trace that helped it adds its goal as an alias
    of that trace. Failing to write the Markdown never fails the goal: its work is done.
    """
    if result.steps and not result.steps[-1].ok:
        runtime.notice(record.goal_id, "not learned: the last step of the run failed.")
        return None
    trace = distill(
        record.text,
        result.steps,
        project=record.project,
        answer=result.text,
        agent=task.agent.name,
        mode=decision.mode,
        model=task.model,
        goal_id=record.goal_id,
        created_at=iso(runtime.clock.now()),
        cost_micro=result.cost_micro,
        usage=result.usage,
        duration_s=duration_s,
        specs=runtime.tools.all_specs(),
    )
    guards.check()
    try:
        if decision.mode is Mode.MIXED and _same_calls(runtime, record, decision, trace):
            runtime.traces.add_alias(record.project, decision.trace_id or "", record.text)
            return None
        runtime.traces.save_trace(trace)
    except WorkspaceUnwritable as error:
        log.warning("goal %s: its trace could not be saved: %s", record.goal_id, error)
        runtime.notice(record.goal_id, f"done, but not learned: {error}")
        return None
    return trace


def _same_calls(
    runtime: Runtime, record: GoalRecord, decision: ModeDecision, trace: ExecutionTrace
) -> bool:
    """Whether the run made exactly the calls of the trace that helped it (then another goal
    with those calls is another wording of the same goal)."""
    known = runtime.traces.get(record.project, decision.trace_id or "")
    if known is None or known.goal_signature == goal_signature(record.text) or not trace.steps:
        return False
    return [s.call.digest() for s in known.steps] == [s.call.digest() for s in trace.steps]
