"""Replay: run a trace's calls again, without a model, checking each step.

The end is one of two: an outcome, or a Handover of what was done so far to a model (MIXED).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import PublishConflict, ToolDenied
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import FileDigest, Outcome
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.gate import GateContext
from llmos_workers.execution.once import OnceOnly
from llmos_workers.execution.ptc import PTCExecutor, SequenceResult, ToolSequence
from llmos_workers.execution.recording import record_step
from llmos_workers.execution.references import resolved
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.approval import doubter
from llmos_workers.flow.crystal import demote, opened
from llmos_workers.flow.outcomes import files_written, make_outcome
from llmos_workers.flow.publish import publish
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.learning.answers import needs_model, replay_answer
from llmos_workers.learning.followable import path_with_slots, replay_blockers
from llmos_workers.learning.matching.slots import fill
from llmos_workers.sentience.manager import Felt
from llmos_workers.sentience.valence import TriggerFacts

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


MAX_CONFLICTS = 3
"""How often a replay starts again because another goal published what it worked on."""


@dataclass(frozen=True)
class Handover:
    """A replay that met a difference: the model goes on from here."""

    decision: ModeDecision
    done: tuple[TraceStep, ...]
    latency_ms: float | None = None
    """How long it took until it met it; None: nothing was begun."""


def replay(run: Run) -> Outcome | Handover:
    """Follow the decision's trace, and again from the start when its files were changed by
    another goal meanwhile: a replay costs nothing.

    Raises ApprovalNeeded and CallInDoubt for a call that may have happened already; Cancelled,
    DeadlineExceeded, LeaseLost, WorkerStopping; PublishConflict when it happens
    again and again.
    """
    for _ in range(MAX_CONFLICTS):
        try:
            return _replay(run)
        except PublishConflict:
            run = run.afresh()
    return _replay(run)


def _replay(run: Run) -> Outcome | Handover:
    runtime, decision = run.runtime, run.decision
    trace = runtime.traces.get(run.project, decision.trace_id or "")
    refusal = _refusal(run, trace)
    if trace is None or refusal:
        return _hand_over(decision, (), refusal)
    started = runtime.clock.steady()
    # A replay runs under the grants that its agent has today.
    agent = agent_of(run, trace.agent)
    context = runtime.gate_context(run, source="trace", agent=agent)
    if refusal := _told_otherwise(run, trace, context):
        return _hand_over(decision, (), refusal)
    if trace.tainted:
        context.taint.mark(f"trace {trace.trace_id}")
    steps = tuple(fill(trace.steps, trace.slots, decision.slots))
    sequence = ToolSequence(steps, decision.slots, recorded=trace.steps)
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
    done = _done_steps(runtime, steps, result)
    open_end = _open_end(trace, decision, result)
    if not open_end:
        publish(run, done, _unnamed(trace, decision), tainted=context.taint.outside)
    latency_ms = (runtime.clock.steady() - started) * 1000
    if open_end:
        demote(run, result, open_end)
        return _hand_over(decision, done, open_end, latency_ms)
    _count(run, trace, success=True, latency_ms=latency_ms)
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
    versions = run.runtime.tools.versions()
    followed = (c for c in decision.match.candidates if c.trace_id == decision.trace_id)
    stage = next((candidate.stage for candidate in followed), "exact")
    return "; ".join(replay_blockers(trace, decision.slots, area, versions, stage=stage))


def _told_otherwise(run: Run, trace: ExecutionTrace, context: GateContext) -> str:
    """Why the goal is not followed though the trace is sound: hooks refuse it, or would tell a
    model something else than they told the one that was learned from; "" when they do not.
    """
    try:
        premises = run.runtime.gate.premises(run.record.text, context)
    except ToolDenied as denied:
        return denied.message
    if premises == trace.premises:
        return ""
    other = sorted(set(premises) ^ set(trace.premises))[0].partition("@")[0]
    return f"{other} tells a model something else than when this was learned"


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


def _hand_over(
    decision: ModeDecision,
    done: tuple[TraceStep, ...],
    reason: str,
    latency_ms: float | None = None,
) -> Handover:
    reason = f"{decision.reason}; then {reason}"
    mixed = decision.model_copy(update={"mode": Mode.MIXED, "tool": None, "reason": reason})
    return Handover(mixed, done, latency_ms)


def keep_done(run: Run, handover: Handover) -> None:
    """A replay that broke goes on with a model: it counts as failed, and what it did stays. One
    that begins again does neither. Raises LeaseLost.
    """
    if handover.latency_ms is None:
        return
    trace = run.runtime.traces.get(run.project, handover.decision.trace_id or "")
    if trace is not None:
        _count(run, trace, success=False, latency_ms=handover.latency_ms)
    # They are journaled as done, and nobody will write them again.
    run.stage.sync(written.path for written in files_written(handover.done))


def _done_steps(
    runtime: Runtime, steps: tuple[TraceStep, ...], result: SequenceResult
) -> tuple[TraceStep, ...]:
    """The steps that ran, as they came out this time."""
    done = []
    for step, outcome in zip(steps, result.results, strict=False):
        tool, call = runtime.tools.find(step.call.name), resolved(step, result.results).call
        done.append(record_step(tool.spec if tool else None, call, outcome, step.turn))
    return tuple(done)


def _count(run: Run, trace: ExecutionTrace, *, success: bool, latency_ms: float) -> None:
    """Savings, statistics and the internal state learn how the replay went: once a goal, also
    when its run was broken off and is repeated, and each under the lease. Raises LeaseLost.
    """
    runtime, lease = run.runtime, run.guards.keeper.lease
    saved = trace.learn_cost_micro if success else 0
    if saved:
        runtime.economy.record_saved(
            goal_id=lease.goal_id,
            project=run.project,
            mode=run.decision.mode.value,
            micro=saved,
            lease=lease,
        )
    counted = runtime.traces.update_trace_stats(
        run.project,
        trace.trace_id,
        success=success,
        cost_micro=0,
        saved_micro=saved,
        latency_ms=latency_ms,
        outcome_id=run.record.goal_id,
        lease=lease,
    )
    if counted and success:
        known = TriggerFacts(repeats=trace.usage_count + 1)
        runtime.sentience.trigger_all(
            [
                Felt(TriggerType.TASK_REPETITION, "a known goal", known),
                Felt(TriggerType.TASK_SUCCESS, "replayed", TriggerFacts(cost_usd=0.0)),
            ],
            project=run.project,
            lease=lease,
        )
