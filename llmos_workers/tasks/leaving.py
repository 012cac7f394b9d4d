"""How a task leaves without a result: its goal goes on as the same task later, or elsewhere."""

from __future__ import annotations

import logging
import random
from contextlib import suppress

import redis
from celery import Task
from celery.exceptions import Ignore, Reject

from llmos_workers.contracts.errors import (
    ApprovalNeeded,
    LLMOSError,
    NewerFormat,
    RateLimited,
    WorkerStopping,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.flow.run import Run, RunGuards
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

RETRY_MAX_SECS = 30.0
"""Longest wait of a duplicate before it looks again; well under the visibility timeout."""

NEWER_SECS = 5.0
"""Pause before a goal that this release cannot read is looked at again, perhaps by another."""

UNKNOWN_WAIT_SECS = 5.0
"""Pause after a rate limit that did not say how long."""


def wait_for_room(runtime: Runtime, guards: RunGuards, error: RateLimited) -> BaseException:
    """The endpoint has no room: the goal waits without a worker, and re-enters as this task."""
    record, lease = guards.record, guards.keeper.lease
    wait_s = error.retry_after if error.retry_after is not None else UNKNOWN_WAIT_SECS
    due = runtime.clock.now() + wait_s * random.uniform(1.0, 1.25)
    if record.options.deadline is not None:
        due = min(due, record.options.deadline)
    runtime.delayed.park(lease, state=GoalState.WAITING_RATE, due=due, reason=error.message)
    runtime.admission.leave(record.goal_id, record.lane)
    return left()


def wait_for_yes(runtime: Runtime, guards: RunGuards, error: ApprovalNeeded) -> BaseException:
    """A person has to answer: the goal waits without a worker until then, or until its deadline,
    which its next run finds passed.
    """
    record, lease = guards.record, guards.keeper.lease
    reason, due = f"{error.message} {error.fix}", record.options.deadline
    runtime.delayed.park(lease, state=GoalState.WAITING_APPROVAL, due=due, reason=reason)
    runtime.admission.leave(record.goal_id, record.lane)
    return left()


def give_back(run: Run, error: WorkerStopping) -> BaseException:
    """The worker stops: the goal goes back to its queue in the same message, journal and stage
    wait for whoever goes on. A replay begins again, so its stage goes.
    """
    if not run.decision.mode.calls_model:
        run.stage.discard()
    run.runtime.delayed.give_back(run.guards.keeper.lease, reason=error.message)
    log.info("goal %s: %s", run.record.goal_id, error.message)
    back: BaseException = Reject(error.message, requeue=True)
    return back


def later(task: Task, seconds: float) -> BaseException:
    """A duplicate of a live goal: look again when the holder's lease may be over."""
    countdown = min(max(seconds, 0.1) + 0.1, RETRY_MAX_SECS)
    retry: BaseException = task.retry(countdown=countdown, throw=False)
    return retry


def lost_lease(task: Task, runtime: Runtime) -> BaseException:
    """Others may have the goal by now: this run is over, without having ended anybody."""
    goal_id = task.request.id
    log.warning("goal %s: this run lost its lease and published nothing", goal_id)
    with suppress(redis.RedisError, LLMOSError):  # it has ended, or Redis is away
        runtime.goals.survived(goal_id, most=runtime.config.kernel.max_deliveries)
    return later(task, 0.5)


def not_here(task: Task, error: NewerFormat) -> BaseException:
    """A goal of a newer release: its message comes again, until a newer worker takes it."""
    log.warning("goal %s waits for a newer worker: %s", task.request.id, error)
    return later(task, NEWER_SECS)


def give_up_run(
    task: Task, runtime: Runtime, guards: RunGuards, error: NewerFormat
) -> BaseException:
    """A newer release began the goal: this run gives it back as it was, counted as no start."""
    runtime.delayed.give_back(guards.keeper.lease, reason=error.message)
    return not_here(task, error)


def left() -> BaseException:
    """The task leaves without a result: the goal goes on as the same task later."""
    left: BaseException = Ignore()
    return left
