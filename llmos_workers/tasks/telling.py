"""What logs and traces say of a hop: which goal, in which task, under which run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import redis
from celery import Task
from celery.exceptions import Ignore, Reject, Retry

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.kernel import keys, logs, telemetry
from llmos_workers.kernel.telemetry import HEADER, Span, Value
from llmos_workers.tasks.process import process_of

LEAVES = (Ignore, Reject, Retry)
"""The task ends without a result, and not by a fault: the goal goes on later or elsewhere."""


@contextmanager
def hop(task: Task, payload: Mapping[str, Any] | None = None) -> Iterator[Span]:
    """What runs inside is this hop of the task's goal."""
    goal_id, name = str(task.request.id), str(task.name)
    process_of(task.app)  # traces begin with the process
    delivery = task.request.delivery_info or {}
    facts: dict[str, Value | None] = {
        "llmos.goal.id": goal_id,
        "llmos.worker": str(task.request.hostname or ""),
        "messaging.system": "celery",
        "messaging.operation.name": "process",
        "messaging.destination.name": str(delivery.get("routing_key") or ""),
        "messaging.message.id": goal_id,
        "llmos.redelivered": bool(delivery.get("redelivered")),
    }
    with (
        logs.about(goal_id=goal_id, task=name),
        telemetry.span(
            name, facts, kind="consumer", parent=_parent(task, payload or {}), calm=LEAVES
        ) as span,
    ):
        try:
            yield span
        except LEAVES as left:
            span.set({"llmos.left": type(left).__name__})
            raise


def tell(record: GoalRecord, *, fence: int | None = None) -> None:
    """What has become known of the goal of the hop under way. ``fence``: of a run, its lease's."""
    facts = {"project": record.project}
    if record.decision is not None and fence is not None:
        facts["mode"] = record.decision.mode.value
    if fence is not None:
        facts["run"] = str(fence)
    logs.note(**facts)
    telemetry.tell({f"llmos.{name}": value for name, value in facts.items()})


def tell_end(span: Span, result: Mapping[str, Any] | ModeDecision) -> None:
    """How the hop ended: with the goal's outcome, or a decision where it goes on."""
    if isinstance(result, ModeDecision):
        span.set(
            {
                "llmos.next_mode": result.mode.value,
                "llmos.confidence": result.confidence,
                "llmos.trace_id": result.trace_id,
            }
        )
        return
    told = {"status": "status", "mode": "mode", "cost_microdollars": "cost_micro",
            "saved_microdollars": "saved_micro", "trace_id": "trace_id"}  # fmt: skip
    span.set({f"llmos.{name}": result.get(key) for name, key in told.items()})
    if error := result.get("error"):
        span.fail(str(error.get("kind")))


def _parent(task: Task, payload: Mapping[str, Any]) -> str | None:
    """W3C trace context of who sent the message: what a plain app names in its arguments, the
    message's header, or, for a message that names none, what the goal's record says since its
    first delivery.
    """
    if not telemetry.on():
        return None
    named = payload.get(HEADER) or (task.request.headers or {}).get(HEADER)
    if isinstance(named, str):
        return named
    try:
        runtime = process_of(task.app).runtime
        kept = cast("bytes | None", runtime.redis.hget(keys.goal(str(task.request.id)), HEADER))
    except redis.RedisError:
        return None  # the hop itself will say so
    return kept.decode() if kept else None
