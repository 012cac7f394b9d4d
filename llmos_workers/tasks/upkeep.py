"""``llmos.upkeep``: clock work. Started by a timer in the upkeep role under one Redis lock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Task, shared_task

from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.runtime import Runtime
from llmos_workers.tasks.hops import LOST_REDIS
from llmos_workers.tasks.process import process_of

log = logging.getLogger(__name__)


@shared_task(bind=True, name="llmos.upkeep", ignore_result=True)
def upkeep(self: Task, **_newer: Any) -> dict[str, str]:
    """Do every duty once; a duty that fails is logged and does not stop the others."""
    runtime = process_of(self.app).runtime
    return {name: _do(runtime, name, duty) for name, duty in DUTIES.items()}


def _do(runtime: Runtime, name: str, duty: Callable[[Runtime], str]) -> str:
    try:
        return duty(runtime)
    except LLMOSError as error:
        log.warning("upkeep duty %s: %s", name, error)
        return f"failed: {error.message}"
    except LOST_REDIS:
        raise
    except Exception as error:  # the process boundary: one duty's fault is not the others'
        log.exception("upkeep duty %s failed by a fault of llmos itself", name)
        return f"failed: {type(error).__name__}"
