"""Sending a plan's members off: a Celery chord whose members are goals, and its parent's wait.

The chord is real: the members' messages name its group and its body, Celery counts them and sends
the body (``llmos.join``) after the last, which sends the parent's message. That is all it is
trusted with. Whether the parent may go on is counted with the goal records (kernel.children), in
the scripts that end the members; a chord that is lost delays the parent by a recovery tick.

Why no ``chord(...).apply_async``: members must be on record with their whole envelope before the
first message leaves, so that one that waits or whose message is lost re-enters as the same member.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from celery import Celery

from llmos_workers.contracts.goal import GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.flow.judge import after_verdict
from llmos_workers.flow.orchestrate import orchestrate
from llmos_workers.flow.plan_members import FanOut, StillLive, ends_at
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.flow.run import Run
from llmos_workers.kernel import wire
from llmos_workers.tasks.leaving import left

JOIN_TASK = "llmos.join"
_NAMESPACE = uuid.UUID("b3a8e4d4-33c2-5a0c-9a0e-6f1f6c1f2b61")


def plan_work(app: Celery) -> Callable[[Run], Outcome | Handover]:
    """What a run of an ORCHESTRATOR goal does, until it ends or waits for its members."""

    def work(run: Run) -> Outcome | Handover:
        judged = after_verdict(run, (Mode.ORCHESTRATOR,))
        if isinstance(judged, Handover):
            return judged
        while True:
            result = orchestrate(judged)
            if not isinstance(result, FanOut | StillLive):
                return result
            if isinstance(result, FanOut):
                send_off(app, run, result)
            if wait_for_members(run):
                raise left()
            # All members have ended meanwhile.

    return work


def send_off(app: Celery, run: Run, fan_out: FanOut) -> None:
    """Adopt the members, store their records, publish their messages: in this order, so that a
    death in between leaves nothing that the next run or the recovery clock does not finish.
    Raises LeaseLost, Cancelled, GoalFinished.
    """
    runtime = run.runtime
    members = in_chord(app, run.record, fan_out.records)
    runtime.children.adopt(run.guards.keeper.lease, fan_out.places)
    stored = runtime.goals.create_many(members)
    wire.publish(runtime.broker, [record for record, created in stored if created])


def in_chord(app: Celery, parent: GoalRecord, members: tuple[GoalRecord, ...]) -> list[GoalRecord]:
    """The members as the header of one chord, which is known to the result backend now."""
    names = "\n".join(sorted(member.goal_id for member in members))
    group_id = str(uuid.uuid5(_NAMESPACE, f"{parent.goal_id}\n{names}"))
    root_id = parent.envelope.root_id or parent.goal_id
    body = app.signature(
        JOIN_TASK,
        kwargs={"goal_id": parent.goal_id},
        immutable=True,
        queue=wire.DISPATCH_QUEUE,
        serializer="json",
    )
    body.freeze(str(uuid.uuid5(_NAMESPACE, group_id)), group_id=group_id, root_id=root_id)
    app.backend.set_chord_size(group_id, len(members))
    chord: dict[str, Any] = json.loads(json.dumps(dict(body), default=str))
    return [
        member.model_copy(
            update={
                "envelope": TaskEnvelope(
                    root_id=root_id,
                    parent_id=parent.goal_id,
                    group_id=group_id,
                    group_index=index,
                    chord=chord,
                )
            }
        )
        for index, member in enumerate(members)
    ]


def wait_for_members(run: Run) -> bool:
    """Park the goal until its members have ended, or the plan's time is over; False when they
    have ended already. Raises LeaseLost, GoalFinished.
    """
    runtime, lease = run.runtime, run.guards.keeper.lease
    live = len(runtime.children.live(run.record.goal_id))
    waits = runtime.delayed.park(
        lease,
        state=GoalState.WAITING_CHILDREN,
        due=ends_at(run),
        reason=f"waits for {live} part{'s' if live != 1 else ''} of its plan",
    )
    if waits:
        runtime.admission.leave(lease.goal_id, run.record.lane)
    return waits
