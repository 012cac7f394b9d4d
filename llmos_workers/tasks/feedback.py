"""``llmos.feedback``: somebody said of a goal that it was good or bad. What, is in Redis."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject

from llmos_workers.flow.feedback import drain_feedback
from llmos_workers.tasks.hops import LOST_REDIS
from llmos_workers.tasks.process import process_of


@shared_task(bind=True, name="llmos.feedback", ignore_result=True)
def feedback(self: Task, *_: Any, **_newer: Any) -> str:
    """Act on all feedback that waits."""
    try:
        return drain_feedback(process_of(self.app).runtime)
    except LOST_REDIS as error:
        raise Reject(str(error), requeue=True) from error
