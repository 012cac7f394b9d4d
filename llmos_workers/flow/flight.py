"""Who learns with whom: goals that would learn the same wait for the first of them, and so do
goals whose replays of one trace broke: one mends it with a model, the others replay what it made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from llmos_workers.contracts import errors
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.execution.once import is_outside
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.flow.run import Run
from llmos_workers.kernel.flight import MOST_FAILURES
from llmos_workers.learning.matching.template import template_signature
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.strategies import ForcedLearnerStrategy

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

MOST_FLIGHTS = 3
"""Flights that a goal waits for; then it learns by itself, whoever else does."""

Decide = Callable[[GoalRecord], ModeDecision]


def board(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    *,
    envelope: TaskEnvelope,
    decide: Decide,
) -> ModeDecision | None:
    """The decision to go on with, or None: the goal is WAITING_FLIGHT now, in ``envelope``.

    ``decide`` is asked again for a goal that was decided while another one landed. Raises
    what ``decide`` raises.
    """
    flights = runtime.flights
    if not flies(record, decision):
        # Who leads a mending replays first: whether it can is not known before.
        if not _mends(record):
            flights.give_way(record)
        return decision
    name = flight_name(record, decision)
    boarding = flights.join(record, name, same=failing_alike(record), envelope=envelope)
    if not boarding.go:
        return None
    if not boarding.look_again:
        return decision
    again = decide(record)
    if not flies(record, again):
        flights.give_way(record.model_copy(update={"flight": name}))
    return again


def flies(record: GoalRecord, decision: ModeDecision) -> bool:
    """Whether the goal is to learn and may wait for another: nobody who asks for a model by
    name is kept waiting for a trace.
    """
    return (
        decision.mode.calls_model
        and decision.mode is not Mode.ORCHESTRATOR  # its members fly, and would wait for it
        and record.options.mode is RequestedMode.AUTO
        and decision.strategy != ForcedLearnerStrategy.name
        and not record.options.dry_run
        and record.flights < MOST_FLIGHTS
    )


class Turn(Enum):
    """What becomes of a goal whose replay broke."""

    MENDS = "mends"
    """It goes on with a model."""
    WAITS = "waits"
    """Another one mends the trace; its run has ended."""
    AGAIN = "again"
    """The trace was mended meanwhile: its run has ended, and it is decided anew."""


def turn_of(run: Run, handover: Handover) -> Turn:
    """Whether a replay that broke goes on with a model now. What it did outside of its stage is
    not done twice: then it goes on. Raises LeaseLost.
    """
    record, decision, flights = run.record, handover.decision, run.runtime.flights
    if not flies(record, decision) or _went_outside(run, handover):
        return Turn.MENDS
    lease = run.guards.keeper.lease
    if not _newer(run, decision):
        name = flight_name(record, decision)
        boarding = flights.join(record, name, same=failing_alike(record), lease=lease)
        if not boarding.go:
            return Turn.WAITS
        if not (boarding.look_again and _newer(run, decision)):
            return Turn.MENDS
    flights.again(lease, reason="its trace was mended meanwhile")
    return Turn.AGAIN


def _newer(run: Run, decision: ModeDecision) -> bool:
    """Whether the trace is another one than was followed."""
    trace = run.runtime.traces.get(run.project, decision.trace_id or "")
    return trace is not None and trace.version != decision.trace_version


def _went_outside(run: Run, handover: Handover) -> bool:
    tools = (run.runtime.tools.find(step.call.name) for step in handover.done)
    return any(tool is None or is_outside(tool.spec) for tool in tools)


def flight_name(record: GoalRecord, decision: ModeDecision) -> str:
    """What is learned, at first: the goal's template, or the trace that it would follow if
    nothing stood against it. Whom that did not help waits only for goals of its own wording.
    """
    if record.flight is not None:
        return record.flight
    broken = _followed(decision)
    if record.flights:
        kind, what = ("mend", f"{broken}:") if broken else ("goal", "")
        return f"{record.project}:{kind}:{what}{goal_signature(record.text)}"
    if broken:
        return f"{record.project}:mend:{broken}"
    return f"{record.project}:template:{template_signature(record.text)}"


def _followed(decision: ModeDecision) -> str | None:
    """The trace that is sure to do the goal, and that is not followed as it is."""
    sure = (c for c in decision.match.candidates if c.confidence >= decision.threshold)
    known = {candidate.trace_id for candidate in sure}
    return decision.trace_id if decision.trace_id in known else None


def _mends(record: GoalRecord) -> bool:
    return record.flight is not None and record.flight.startswith(f"{record.project}:mend:")


def failing_alike(record: GoalRecord) -> str:
    """Equal for goals of which one would fail where the other does."""
    options = record.options
    parts = (goal_signature(record.text), options.agent, options.budget_micro)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def failed_with_others(runtime: Runtime, record: GoalRecord, error: ErrorInfo) -> Outcome:
    """The outcome of a goal that waited while the very same goal failed again and again."""
    told = ErrorInfo(
        kind=error.kind,
        message=f"not tried: {MOST_FAILURES} equal goals failed one after the other while it "
        f"waited for them, the last with: {error.message}",
        fix=error.fix,
    )
    refused = issubclass(getattr(errors, error.kind, Exception), errors.Refused)
    state = GoalState.REJECTED if refused else GoalState.FAILED
    return make_outcome(record, state, now=runtime.clock.now(), error=told)
