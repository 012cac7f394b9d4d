"""What a replay and a generalized tool's run have in common: how they hand over, count and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.gate import GateContext
from llmos_workers.execution.hooks.memory import PREMISE
from llmos_workers.execution.ptc import SequenceResult
from llmos_workers.execution.recording import record_step
from llmos_workers.execution.references import resolved
from llmos_workers.flow.outcomes import files_written
from llmos_workers.flow.run import Run
from llmos_workers.sentience.manager import Felt
from llmos_workers.sentience.valence import TriggerFacts

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


@dataclass(frozen=True)
class Handover:
    """A replay that met a difference: the model goes on from here."""

    decision: ModeDecision
    done: tuple[TraceStep, ...]
    latency_ms: float | None = None
    """How long it took until it met it; None: nothing was begun."""


def told_otherwise(run: Run, trace: ExecutionTrace, context: GateContext) -> str:
    """Why the goal is not followed though the trace is sound: hooks refuse it, or would tell a
    model something else than they told the one that was learned from; "" when they do not.
    """
    try:
        premises = run.runtime.gate.premises(run.record.text, context)
    except ToolDenied as denied:
        return denied.message
    notes = {each for each in trace.premises if each.startswith(PREMISE)}
    if notes and (fallen := run.runtime.memory.fallen(run.project, sorted(notes))):
        note = fallen[0].removeprefix(PREMISE).partition("@")[0]
        return f"the note {note}, which was told when this was learned, no longer says that"
    other = sorted(set(premises) ^ (set(trace.premises) - notes))
    if not other:
        return ""
    name = other[0].partition("@")[0]
    return f"{name} tells a model something else than when this was learned"


def hand_over(
    decision: ModeDecision,
    done: tuple[TraceStep, ...],
    reason: str,
    latency_ms: float | None = None,
) -> Handover:
    """To a model, saying why. ``latency_ms``: of a replay that broke; None: none was begun."""
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
        count(run, trace, success=False, latency_ms=handover.latency_ms)
    # They are journaled as done, and nobody will write them again.
    run.stage.sync(written.path for written in files_written(handover.done))


def done_steps(
    runtime: Runtime, steps: tuple[TraceStep, ...], result: SequenceResult
) -> tuple[TraceStep, ...]:
    """The steps that ran, as they came out this time."""
    done = []
    for step, outcome in zip(steps, result.results, strict=False):
        tool, call = runtime.tools.find(step.call.name), resolved(step, result.results).call
        done.append(record_step(tool.spec if tool else None, call, outcome, step.turn))
    if result.check is not None:
        step, outcome = result.check
        tool = runtime.tools.find(step.call.name)
        done.append(record_step(tool.spec if tool else None, step.call, outcome, step.turn))
    return tuple(done)


def count(run: Run, trace: ExecutionTrace, *, success: bool, latency_ms: float) -> None:
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
