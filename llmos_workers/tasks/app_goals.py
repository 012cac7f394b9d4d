"""Which messages that carry a goal themselves are taken."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from llmos_workers.contracts.errors import PayloadError, UsageError
from llmos_workers.kernel import keys
from llmos_workers.kernel.app_seal import check_seal
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)


def refuse_strangers(task: Task, runtime: Runtime, payload: dict[str, Any]) -> None:
    """Raise PayloadError or InvalidOption for a message that ``security.app_goals`` does not let
    in. It is logged and counted, and the caller stores a REJECTED outcome.
    """
    taken = runtime.config.security.app_goals
    if taken == "any":
        return
    try:
        _check(task, runtime, payload, signed=taken == "signed")
    except UsageError as error:
        log.warning("goal %s of another app is refused: %s", task.request.id, error.message)
        runtime.redis.hincrby(keys.COUNTERS, "app_goals.refused", 1)
        raise


def _check(task: Task, runtime: Runtime, payload: dict[str, Any], *, signed: bool) -> None:
    if not signed:
        raise PayloadError(
            "this goal is refused: no goals of other apps are taken here.",
            fix="Submit it with llmos, or ask the operator for security.app_goals.",
        )
    request, now = task.request, runtime.clock.now()
    # Records are kept for as long: after that an id could be used once more.
    latest = now + runtime.config.kernel.result_retention_secs
    until = check_seal(runtime.workspace.keys, task.name, request.id, payload, latest=latest)
    links = ("callbacks", "errbacks", "chain", "chord", "group")
    if carried := [name for name in links if getattr(request, name, None)]:
        raise PayloadError(
            f"this goal is refused: its signature does not cover its {', '.join(carried)}.",
            fix="Send it by itself; what follows it can wait for its result.",
        )
    (known,) = runtime.goals.get_many([request.id])
    if known is None and until <= now:
        raise PayloadError("this goal is refused: its signature has expired.")
