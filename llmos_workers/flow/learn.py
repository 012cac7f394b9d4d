"""Learn: a verified success becomes a trace, or a new wording of a known one."""

from __future__ import annotations

import logging

from llmos_workers.contracts.errors import WorkspaceUnwritable
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.flow.run import Run
from llmos_workers.kernel.clock import iso
from llmos_workers.learning.distill import RunFacts, distill

log = logging.getLogger(__name__)


def learn(
    run: Run, task: AgentTask, result: AgentResult, *, duration_s: float
) -> ExecutionTrace | None:
    """Distil and save the run; returns the trace, or None when there is nothing to keep.

    A run that did the very same calls as the trace that helped it adds its goal as an alias
    of that trace. Failing to write the Markdown never fails the goal: its work is done.
    """
    runtime, goal_id = run.runtime, run.record.goal_id
    if result.steps and not result.steps[-1].ok:
        runtime.notice(goal_id, "not learned: the last step of the run failed.")
        return None
    facts = RunFacts(
        project=run.project,
        goal_id=goal_id,
        agent=task.agent.name,
        model=task.model,
        mode=run.decision.mode,
        created_at=iso(runtime.clock.now()),
        cost_micro=result.cost_micro,
        usage=result.usage,
        duration_s=duration_s,
    )
    trace = distill(
        run.record.text,
        result.steps,
        answer=result.text,
        specs=runtime.tools.all_specs(),
        facts=facts,
    )
    run.guards.check()
    try:
        if _same_calls(run, trace):
            runtime.traces.add_alias(run.project, run.decision.trace_id or "", run.record.text)
            return None
        return runtime.traces.save_trace(trace, lease=run.guards.keeper.lease)
    except WorkspaceUnwritable as error:
        log.warning("goal %s: its trace could not be saved: %s", goal_id, error)
        runtime.notice(goal_id, f"done, but not learned: {error}")
        return None


def _same_calls(run: Run, trace: ExecutionTrace) -> bool:
    """Whether a MIXED run made exactly the calls of the trace that helped it: then its goal is
    another wording of that trace's goal.
    """
    if run.decision.mode is not Mode.MIXED or not trace.steps:
        return False
    known = run.runtime.traces.get(run.project, run.decision.trace_id or "")
    if known is None or known.goal_signature == trace.goal_signature:
        return False
    return [s.call.digest() for s in known.steps] == [s.call.digest() for s in trace.steps]
