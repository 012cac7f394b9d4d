"""What the hops share: receiving a message, holding the lease, and ending in an outcome."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from celery import Task
from celery.exceptions import Ignore, Reject

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import (
    ApprovalNeeded,
    BrokerUnavailable,
    GoalFinished,
    GoalNotFound,
    InvalidGoal,
    LeaseHeld,
    LeaseLost,
    LLMOSError,
    NewerFormat,
    RateLimited,
    UsageError,
    WorkerStopping,
)
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.payload import parse_payload
from llmos_workers.execution.journal import done_entry
from llmos_workers.flow.flight import Turn, board, failed_with_others, turn_of
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.replay_parts import Handover, keep_done
from llmos_workers.flow.run import Run, RunGuards, hurried, open_stage, overdue, plan_over
from llmos_workers.flow.safety import feel_end
from llmos_workers.flow.shadow import offer
from llmos_workers.kernel import drain, telemetry
from llmos_workers.kernel.goal_secrets import refuse_secrets
from llmos_workers.kernel.goals import new_record
from llmos_workers.kernel.lease import LeaseKeeper
from llmos_workers.kernel.redact import shared
from llmos_workers.runtime import Runtime
from llmos_workers.tasks.app_goals import refuse_strangers
from llmos_workers.tasks.endings import (
    as_json,
    dead,
    end,
    end_badly,
    end_by_fault,
    stored,
    unrecorded,
)
from llmos_workers.tasks.envelope import envelope_of
from llmos_workers.tasks.leaving import (
    give_back,
    give_up_run,
    later,
    left,
    lost_lease,
    not_here,
    wait_for_room,
    wait_for_yes,
)
from llmos_workers.tasks.process import Process
from llmos_workers.tasks.telling import tell

log = logging.getLogger(__name__)

LOST_REDIS = (redis.ConnectionError, redis.TimeoutError, BrokerUnavailable)
"""Redis is away: nothing can be stored, so the message goes back to its queue."""

Work = Callable[[Run], Outcome | Handover]


@dataclass(frozen=True)
class Next:
    """The goal goes on in the hop of this decision's mode."""

    decision: ModeDecision


def receive(
    task: Task, process: Process, payload: dict[str, Any], args: Sequence[object] = ()
) -> dict[str, Any] | Next:
    """The dispatch hop: record, decision, and where to go on (or the outcome)."""
    runtime = process.runtime
    try:
        record = hurried(runtime, _record(task, runtime, payload, args))
        if record.outcome is not None:
            return as_json(stored(runtime, record.goal_id))
        if record.state is GoalState.WAITING_CHILDREN:
            raise left()  # a stray message: whoever ends the wait changes the state first
        if record.goal_id != task.request.id:  # the same idempotency key: that goal's outcome
            raise later(task, 1.0)
        if _held(record, runtime):
            raise later(task, (record.lease_until or 0.0) - runtime.clock.now())
        if told := _told_secret(runtime, record):
            return as_json(end_badly(runtime, record, told, fence=None))
        if over := plan_over(runtime, record):
            return as_json(end_badly(runtime, record, over, fence=None))
        late = overdue(record, runtime.clock.now())
        if late and not record.cancel_requested:  # however it waited, and whether or not admitted
            return as_json(end_badly(runtime, record, late, fence=None))
        if not _admitted(task, runtime, record):
            raise left()
        return _survived(task, process, record)
    except UsageError as error:
        return as_json(unrecorded(task, error))
    except LeaseHeld as held:
        raise later(task, held.remaining) from held
    except NewerFormat as error:
        raise not_here(task, error) from error
    except LOST_REDIS as error:
        raise Reject(str(error), requeue=True) from error


def _survived(task: Task, process: Process, record: GoalRecord) -> dict[str, Any] | Next:
    """Dispatch, and count how often that took the worker with it.

    A run that dies is seen by its lease; here only the message tells, which comes again.
    """
    if not (getattr(task.request, "delivery_info", None) or {}).get("redelivered"):
        return _dispatch(task, process, record)
    runtime = process.runtime
    starts = runtime.goals.count_redelivery(record.goal_id)
    if starts >= runtime.config.kernel.max_deliveries:
        return as_json(dead(runtime, record, None, starts=starts))
    try:
        return _dispatch(task, process, record)
    finally:
        runtime.goals.count_redelivery(record.goal_id, over=True)


def _admitted(task: Task, runtime: Runtime, record: GoalRecord) -> bool:
    """Whether it is the goal's turn: a project's flood does not hold up the others."""
    return runtime.admission.admit(record, envelope=envelope_of(task))


def _dispatch(task: Task, process: Process, record: GoalRecord) -> dict[str, Any] | Next:
    """Decide, and store the decision, or wait for a goal that learns the same."""
    runtime = process.runtime
    tell(record)
    try:
        if record.flight_failed is not None:
            return as_json(
                end(
                    runtime,
                    failed_with_others(runtime, record, record.flight_failed),
                    None,
                    record,
                )
            )
        if record.fence and record.decision and record.decision.mode.calls_model:
            # A model is at work on it: what it said is journaled and holds for this decision.
            decision = record.decision
        else:
            boarded = board(
                runtime,
                record,
                process.dispatcher.decide(record),
                envelope=envelope_of(task),
                decide=process.dispatcher.decide,
            )
            if boarded is None:
                runtime.admission.leave(record.goal_id, record.lane)
                raise left()
            decision = boarded
        if record.options.dry_run:
            return as_json(_finish_dry_run(process, record, decision))
        runtime.goals.transition(
            record.goal_id,
            GoalState.DISPATCHED,
            decision=decision,
            envelope=envelope_of(task),
            event={
                "mode": decision.mode.value,
                "confidence": decision.confidence,
                "reason": decision.reason,
                "trace_id": decision.trace_id,
            },
        )
    except GoalFinished:
        return as_json(stored(runtime, record.goal_id))
    except (LeaseHeld, NewerFormat, Ignore, *LOST_REDIS):
        raise
    except LLMOSError as error:
        return as_json(end_badly(runtime, record, error, fence=None))
    except Exception as error:  # the process boundary, as in _work
        log.exception("goal %s was not dispatched by a fault of llmos itself", record.goal_id)
        return as_json(end_by_fault(runtime, record, error, None))
    return Next(decision)


def _record(
    task: Task, runtime: Runtime, payload: dict[str, Any], args: Sequence[object]
) -> GoalRecord:
    """The stored record of our own client, or one made from a plain app's message."""
    goal_id = task.request.id
    if payload.get("stored") is True:
        return runtime.goals.get(goal_id)
    refuse_strangers(task, runtime, payload)
    text, options, traceparent = parse_payload(payload, args)
    refuse_secrets(text, options.metadata)
    now = runtime.clock.now()
    told = telemetry.here() or traceparent
    record = new_record(text, options, now=now, goal_id=goal_id, traceparent=told)
    return runtime.goals.ensure(record)[0]


def _told_secret(runtime: Runtime, record: GoalRecord) -> InvalidGoal | None:
    """Why a new goal is refused that holds a secret of the workers, which its sender's machine
    could not know as one. It is not kept.
    """
    if record.decision is not None:
        return None
    try:
        refuse_secrets(record.text, record.options.metadata)
    except InvalidGoal as error:
        runtime.goals.blank(record.goal_id, shared().redact(record.text))
        return error
    return None


def _held(record: GoalRecord, runtime: Runtime) -> bool:
    return (
        record.state is GoalState.RUNNING
        and record.lease_until is not None
        and record.lease_until > runtime.clock.now()
    )


def _finish_dry_run(process: Process, record: GoalRecord, decision: ModeDecision) -> Outcome:
    runtime = process.runtime
    outcome = make_outcome(
        record, GoalState.SUCCEEDED, now=runtime.clock.now(), decision=decision
    ).model_copy(update={"dry_run": process.dispatcher.preview(record, decision)})
    return runtime.goals.finish(outcome, fence=None)


def leased_run(task: Task, runtime: Runtime, work: Work) -> dict[str, Any] | Next:
    """Run ``work`` under the goal's lease and end in a stored outcome, or go on to a hop."""
    goal_id, ttl = task.request.id, runtime.config.kernel.lease_secs
    try:
        lease, record = runtime.goals.acquire(goal_id, owner=_owner(), ttl_s=ttl)
        record = hurried(runtime, record)
    except GoalFinished:
        return as_json(stored(runtime, goal_id))
    except LeaseHeld as held:
        raise later(task, held.remaining) from held
    except GoalNotFound as error:
        return as_json(unrecorded(task, error))
    except NewerFormat as error:
        raise not_here(task, error) from error
    except LOST_REDIS as error:
        raise Reject(str(error), requeue=True) from error
    with LeaseKeeper(runtime.goals, lease, ttl_s=ttl, clock=runtime.clock) as keeper:
        guards = RunGuards(record, runtime.goals, runtime.clock, keeper, drain.draining)
        try:
            return _work(runtime, record, guards, work)
        except NewerFormat as error:
            raise give_up_run(task, runtime, guards, error) from error
        except LeaseLost as error:
            raise lost_lease(task, runtime) from error
        except LOST_REDIS as error:
            raise Reject(str(error), requeue=True) from error


def _work(
    runtime: Runtime, record: GoalRecord, guards: RunGuards, work: Work
) -> dict[str, Any] | Next:
    """Do the work; every end but a lost lease or a lost Redis is an outcome."""
    fence = guards.keeper.lease.fence
    tell(record, fence=fence)
    try:
        if record.decision is None:
            raise RuntimeError(f"goal {record.goal_id} is run without a decision")
        # A replay that handed over was a start that came to its end, and so was a judgement.
        judged = record.decision.judged
        starts = record.deliveries - (record.decision.mode is Mode.MIXED)
        starts -= judged is not None and judged.trusted
        if starts > runtime.config.kernel.max_deliveries:
            return as_json(dead(runtime, record, fence, starts=record.deliveries - 1))
        guards.check()
        return _staged(
            Run(runtime, record, record.decision, guards, open_stage(runtime, record, fence)), work
        )
    except GoalFinished:
        return as_json(stored(runtime, record.goal_id))
    except (LeaseLost, NewerFormat, Ignore, Reject, *LOST_REDIS):
        raise
    except LLMOSError as error:
        feel_end(runtime, record, error, guards.keeper.lease)
        return as_json(end_badly(runtime, record, error, fence=fence))
    except Exception as error:  # the process boundary: a goal never ends in a traceback
        log.exception("goal %s failed by a fault of llmos itself", record.goal_id)
        return as_json(end_by_fault(runtime, record, error, fence))


def _staged(run: Run, work: Work) -> dict[str, Any] | Next:
    """Work in the run's stage. It is gone after every end, and kept for whoever goes on."""
    runtime, guards = run.runtime, run.guards
    try:
        result = work(run)
    except RateLimited as error:
        raise wait_for_room(runtime, guards, error) from error
    except ApprovalNeeded as error:
        if not run.decision.mode.calls_model:
            run.stage.discard()  # a replay begins again
        raise wait_for_yes(runtime, guards, error) from error
    except WorkerStopping as error:
        raise give_back(run, error) from error
    except (LeaseLost, *LOST_REDIS):
        raise
    except BaseException:
        run.stage.discard()
        raise
    if isinstance(result, Handover):
        if turn_of(run, result) is not Turn.MENDS:
            run.stage.discard()  # a replay begins again
            runtime.admission.leave(guards.record.goal_id, guards.record.lane)
            raise left()
        return _hand_over(run, result)
    run.stage.discard()
    outcome = end(runtime, result, guards.keeper.lease.fence, guards.record)
    offer(run, outcome)
    return as_json(outcome)


def _hand_over(run: Run, handover: Handover) -> Next:
    """Journal what the replay did, and let a model go on from there."""
    runtime, lease, decision = run.runtime, run.guards.keeper.lease, handover.decision
    keep_done(run, handover)
    if handover.done:
        runtime.goals.append_journal(lease, done_entry(handover.done))
    runtime.goals.transition(
        lease.goal_id,
        GoalState.DISPATCHED,
        fence=lease.fence,
        decision=decision,
        event={"mode": decision.mode.value, "reason": decision.reason},
    )
    return Next(decision)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
