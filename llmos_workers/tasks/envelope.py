"""The Celery message that a goal came in, as its record keeps it."""

from __future__ import annotations

from celery import Task

from llmos_workers.contracts.goal import TaskEnvelope
from llmos_workers.kernel import telemetry

PLAIN = (str, int, float)
"""Types of the custom headers that a message keeps when it is written anew."""


def envelope_of(task: Task) -> TaskEnvelope:
    """What makes the goal that waits re-enter as the very task that runs now."""
    request = task.request
    headers = {k: v for k, v in (request.headers or {}).items() if isinstance(v, PLAIN)}
    if told := telemetry.here():
        headers[telemetry.HEADER] = told  # for when it comes back, where its submitter told none
    return TaskEnvelope(
        root_id=request.root_id,
        parent_id=request.parent_id,
        group_id=request.group,
        group_index=request.group_index,
        chord=request.chord,
        callbacks=request.callbacks,
        errbacks=request.errbacks,
        chain=request.chain,
        headers=headers,
        reply_to=request.reply_to,
        correlation_id=request.correlation_id,
    )
