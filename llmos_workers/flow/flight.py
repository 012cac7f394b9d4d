"""Who learns with whom: goals that would learn the same wait for the first of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmos_workers.contracts import errors
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.flow.outcomes import make_outcome
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
        flights.give_way(record)
        return decision
    name = flight_name(record)
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
        and record.options.mode is RequestedMode.AUTO
        and decision.strategy != ForcedLearnerStrategy.name
        and not record.options.dry_run
        and record.flights < MOST_FLIGHTS
    )


def flight_name(record: GoalRecord) -> str:
    """What is learned, at first: the goal's template. Whom that did not help waits only for
    goals of its own wording.
    """
    if record.flights:
        return f"{record.project}:goal:{goal_signature(record.text)}"
    return f"{record.project}:template:{template_signature(record.text)}"


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
