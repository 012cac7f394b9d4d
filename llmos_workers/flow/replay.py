"""Replay: run a trace's calls again, without a model, checking each step.

The end is one of two: an outcome, or a Handover of what was done so far to a model (MIXED).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import PublishConflict
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import FileDigest, Outcome
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.gate import GateContext
from llmos_workers.execution.once import OnceOnly
from llmos_workers.execution.ptc import PTCExecutor, SequenceResult, ToolSequence
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.approval import doubter
from llmos_workers.flow.crystal import demote, opened
from llmos_workers.flow.followed import blockers_now
from llmos_workers.flow.general_run import run_generalized
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.publish import publish
from llmos_workers.flow.replay_parts import (
    Handover,
    count,
    done_steps,
    hand_over,
    told_otherwise,
)
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.learning.answers import needs_model, replay_answer
from llmos_workers.learning.followable import path_with_slots
from llmos_workers.learning.matching.slots import fill

if TYPE_CHECKING:
    pass


MAX_CONFLICTS = 3
"""How often a replay starts again because another goal published what it worked on."""


def replay(run: Run) -> Outcome | Handover:
    """Follow the decision's trace, and again from the start when its files were changed by
    another goal meanwhile: a replay costs nothing.

    Raises ApprovalNeeded and CallInDoubt for a call that may have happened already; Cancelled,
    DeadlineExceeded, LeaseLost, WorkerStopping; PublishConflict when it happens
    again and again.
    """
    work = run_generalized if run.decision.generalized else _replay
    for _ in range(MAX_CONFLICTS):
        try:
            return work(run)
        except PublishConflict:
            run = run.afresh()
    return work(run)


def _replay(run: Run) -> Outcome | Handover:
    runtime, decision = run.runtime, run.decision
    trace = runtime.traces.get(run.project, decision.trace_id or "")
    refusal = _refusal(run, trace)
    if trace is None or refusal:
        return hand_over(decision, (), refusal)
    started = runtime.clock.steady()
    # A replay runs under the grants that its agent has today.
    agent = agent_of(run, trace.agent)
    context = runtime.gate_context(run, source="trace", agent=agent)
    if refusal := told_otherwise(run, trace, context):
        return hand_over(decision, (), refusal)
    if trace.tainted:
        context.taint.mark(f"trace {trace.trace_id}")
    steps = tuple(fill(trace.steps, trace.slots, decision.slots))
    sequence = ToolSequence(steps, decision.slots, recorded=trace.steps, checks=trace.checks)
    with opened(run, trace) as (run_as, program):
        result = PTCExecutor(runtime.gate, runtime.clock).execute_sequence(
            sequence,
            replace(context, mode=run_as.decision.mode),
            once=_once(run, steps, context),
            before_step=run.guards.before_step,
            program=program,
        )
    run, decision = run_as, run_as.decision
    run.guards.check()
    done = done_steps(runtime, steps, result)
    open_end = _open_end(trace, decision, result)
    if not open_end:
        publish(run, done, _unnamed(trace, decision), taint=context.taint)
    latency_ms = (runtime.clock.steady() - started) * 1000
    if open_end:
        demote(run, result, open_end)
        return hand_over(decision, done, open_end, latency_ms)
    count(run, trace, success=True, latency_ms=latency_ms)
    outcome = make_outcome(
        run.record,
        GoalState.SUCCEEDED,
        now=runtime.clock.now(),
        decision=decision,
        text=replay_answer(trace, decision.slots, result.results),
        steps=done,
        cost_micro=decision.judged.cost_micro if decision.judged else 0,
        saved_micro=trace.learn_cost_micro,
        replayed_from=trace.created_at,
    )
    return outcome.model_copy(update={"tainted": context.taint.outside})


def _once(run: Run, steps: Sequence[TraceStep], context: GateContext) -> OnceOnly | None:
    """What keeps a replay that begins again from repeating effects; None where there are none."""
    runtime = run.runtime
    doubt = doubter(runtime.approvals, run, runtime.config.execution.on_doubt)
    once = OnceOnly(runtime.gate, journal_of(run), doubt)
    return once if any(once.outside(step.call, context) for step in steps) else None


def _refusal(run: Run, trace: ExecutionTrace | None) -> str:
    """Why the trace may no longer be followed: the world may have moved since dispatch."""
    decision = run.decision
    if trace is None:
        return f"trace {decision.trace_id} is gone"
    if decision.trace_version is not None and trace.version != decision.trace_version:
        return f"the trace became version {trace.version} after the decision"
    area = run.stage.area
    followed = (c for c in decision.match.candidates if c.trace_id == decision.trace_id)
    stage = next((candidate.stage for candidate in followed), "exact")
    return "; ".join(
        blockers_now(run.runtime, run.record, trace, decision.slots, stage=stage, area=area)
    )


def _unnamed(trace: ExecutionTrace, decision: ModeDecision) -> list[FileDigest]:
    """Inputs that only perturbing showed: no step says that it reads them. Those that the run
    itself makes are not the project's.
    """
    made = {file.path for file in trace.outputs}
    return [
        file
        for file in trace.inputs
        if not file.path.endswith("/")
        and file.path not in made
        and path_with_slots(trace, decision.slots, file.path) == file.path
    ]


def _open_end(trace: ExecutionTrace, decision: ModeDecision, result: SequenceResult) -> str:
    """Why the replay did not do the goal, so that a model has to go on; "" when it did."""
    if not result.completed:
        where = (result.diverged_at or 0) + 1
        return f"step {where} of the replay differed: {result.reason}"
    return needs_model(trace, decision.slots, result.results)
