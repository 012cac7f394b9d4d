"""How a goal ends: outcomes stored once, told to the bus, and given back as JSON."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from llmos_workers.contracts.errors import Cancelled, LLMOSError, UsageError
from llmos_workers.contracts.events import Topic
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.flow.outcomes import error_info, failed_state, make_outcome
from llmos_workers.kernel.dead import poisoned
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """What a caller's AsyncResult.get() returns."""
    return outcome.model_dump(mode="json")


def unrecorded(task: Task, error: UsageError) -> Outcome:
    """A message we cannot make a goal of still gets an outcome."""
    return Outcome(
        goal_id=task.request.id,
        status=GoalState.REJECTED.value,
        reason=error.message,
        error=error_info(error),
    )


def stored(runtime: Runtime, goal_id: str) -> Outcome:
    """The outcome of a goal that has ended, perhaps outside of any task, for Celery."""
    outcome = runtime.goals.outcome(goal_id)
    if outcome is None:
        raise RuntimeError(f"goal {goal_id} is final but has no outcome")
    runtime.goals.reported(goal_id)
    runtime.flights.land(outcome)
    _close_plan(runtime, outcome)
    _close_approvals(runtime, outcome)
    return outcome


def end(runtime: Runtime, outcome: Outcome, fence: int | None, record: GoalRecord) -> Outcome:
    """Store the outcome (the first one wins) and tell the bus."""
    stored = runtime.goals.finish(outcome, fence=fence)
    runtime.admission.leave(stored.goal_id, record.lane)
    if record.flight or stored.mode is None or stored.mode.calls_model:
        runtime.flights.land(stored)
    _close_approvals(runtime, stored)
    _close_plan(runtime, stored)
    topic = Topic.TASK_COMPLETE if stored.ok else Topic.TASK_FAILED
    runtime.bus.publish(
        topic,
        {
            "goal_id": stored.goal_id,
            "project": stored.project,
            "status": stored.status,
            "mode": stored.mode.value if stored.mode else None,
            "cost_micro": stored.cost_micro,
        },
    )
    return stored


def _close_approvals(runtime: Runtime, outcome: Outcome) -> None:
    """Nobody is to answer for a goal that is over. One that did its work has nothing open."""
    if not outcome.ok:
        runtime.approvals.close_goal(outcome.goal_id)


def _close_plan(runtime: Runtime, outcome: Outcome) -> None:
    """Nobody works on for a plan that is over; what its members made goes with its board, at the
    next sweep where one still works.
    """
    if outcome.mode is not Mode.ORCHESTRATOR:
        return
    if runtime.children.end_all(outcome.goal_id) or outcome.ok:
        return
    (record,) = runtime.goals.get_many([outcome.goal_id])
    if record is not None:
        runtime.boards.drop(record.place, record.goal_id)


def end_badly(
    runtime: Runtime, record: GoalRecord, error: LLMOSError, *, fence: int | None
) -> Outcome:
    """The goal could not be done, for a reason that has a name."""
    state = GoalState.CANCELLED if isinstance(error, Cancelled) else failed_state(error)
    outcome = make_outcome(
        record,
        state,
        now=runtime.clock.now(),
        cost_micro=runtime.spent_on(record.goal_id),
        error=error_info(error),
    )
    if state is not GoalState.CANCELLED:
        log.info("goal %s %s: %s", record.goal_id, state.value, error.message)
    return end(runtime, outcome, fence, record)


def end_by_fault(
    runtime: Runtime, record: GoalRecord, error: Exception, fence: int | None
) -> Outcome:
    """Something went wrong that nobody foresaw."""
    info = ErrorInfo(
        kind="InternalError",
        message=f"llmos itself failed ({type(error).__name__}); the worker's log has the details.",
        fix="Report it with the log of the worker.",
    )
    outcome = make_outcome(
        record,
        GoalState.FAILED,
        now=runtime.clock.now(),
        cost_micro=runtime.spent_on(record.goal_id),
        error=info,
    )
    return end(runtime, outcome, fence, record)


def dead(runtime: Runtime, record: GoalRecord, fence: int | None, *, starts: int) -> Outcome:
    """The goal took a worker with it too often."""
    outcome = make_outcome(
        record,
        GoalState.DEAD,
        now=runtime.clock.now(),
        cost_micro=runtime.spent_on(record.goal_id),
        error=poisoned(record.goal_id, starts),
    )
    return end(runtime, outcome, fence, record)
