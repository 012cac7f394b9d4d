"""A goal's task for the process tests of recovery: real records, leases and messages, no model.

The goal's text is ``VERB KEY``; what happened is counted under KEY in the state database.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

from llmos_workers.contracts.errors import GoalFinished, LeaseHeld
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.delayed import DelayedGoals
from llmos_workers.kernel.goals import GoalStore, new_record
from llmos_workers.kernel.lease import Lease, LeaseKeeper
from llmos_workers.kernel.redis import connect
from tests.queue.goal_probe_states import STATES

PAUSE = 0.02


@shared_task(name="llmos.goal", bind=True, max_retries=None)
def goal(self: Any, goal: str = "", **_: Any) -> Any:
    """Run the goal as its text says, under its lease, and return its outcome."""
    config = self.app.llmos_config
    url = self.app.conf.broker_url
    with connect(config.redis, url=url) as state, connect(config.redis, db=0, url=url) as broker:
        goals = GoalStore(state, SystemClock())
        if goal:
            options = GoalOptions(project="probe")
            goals.ensure(
                new_record(
                    goal, options, now=time.time(), goal_id=self.request.id,
                    envelope=_envelope(self.request),
                )
            )  # fmt: skip
        ttl = config.kernel.lease_secs
        try:
            lease, record = goals.acquire(self.request.id, owner=str(os.getpid()), ttl_s=ttl)
        except GoalFinished:
            goals.reported(self.request.id)
            return goals.get(self.request.id).outcome.model_dump(mode="json")
        except LeaseHeld as held:
            raise self.retry(countdown=held.remaining + 0.1) from held
        with LeaseKeeper(goals, lease, ttl_s=ttl):
            _do(state, DelayedGoals(state, broker, goals), lease, record)
        outcome = Outcome(goal_id=record.goal_id, status="SUCCEEDED", text=record.text)
        return goals.finish(outcome, fence=lease.fence).model_dump(mode="json")


@shared_task(name="probe.bodies", bind=True)
def bodies(self: Any, results: list[Any]) -> list[Any]:
    """Body of a chord that counts its runs."""
    with connect(self.app.llmos_config.redis, url=self.app.conf.broker_url) as state:
        state.incr("bodies")
    return results


def _do(state: Any, delayed: DelayedGoals, lease: Lease, record: GoalRecord) -> None:
    verb, key = record.text.split()
    starts = state.rpush(f"{key}:starts", os.getpid())
    if verb == "hold":  # until the test says go
        while not state.exists(f"{key}:go"):
            time.sleep(PAUSE)
    if verb == "die" or (verb == "die_once" and starts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if verb.startswith("park") and record.fence == 1:
        which = STATES[int(verb.removeprefix("park")) % len(STATES)]
        by_itself = which in (GoalState.WAITING_RATE, GoalState.PARKED)
        due = time.time() + 0.5 if by_itself else None
        delayed.park(lease, state=which, due=due, reason="a test")
        raise Ignore


def _envelope(request: Any) -> TaskEnvelope:
    return TaskEnvelope(
        root_id=request.root_id,
        parent_id=request.parent_id,
        group_id=request.group,
        group_index=request.group_index,
        chord=request.chord,
        reply_to=request.reply_to,
        correlation_id=request.correlation_id,
    )
