"""Tasks for the process tests; workers import them through LLMOS_TASK_MODULES.

What a probe did is counted in the state database, where the test looks.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import shared_task
from celery.exceptions import Reject
from redis import Redis

from llmos_workers.kernel.drain import draining
from llmos_workers.kernel.redis import connect

PAUSE = 0.02


def _state(task: Any) -> Redis:
    return connect(task.app.llmos_config.redis, url=task.app.conf.broker_url)


@shared_task(name="probe.where", bind=True)
def where(self: Any) -> dict[str, Any]:
    """Who runs it."""
    return {
        "role": os.environ.get("LLMOS_ROLE"),
        "pid": os.getpid(),
        "worker": self.request.hostname,
    }


@shared_task(name="probe.count", bind=True)
def count(self: Any, key: str, value: Any = None) -> Any:
    """Count itself and give the value back."""
    with _state(self) as state:
        state.incr(key)
    return value


@shared_task(name="probe.hold", bind=True)
def hold(self: Any, key: str, secs: float, *, cooperative: bool = False) -> dict[str, Any]:
    """Note each start, run for ``secs`` or until ``key:go`` exists, note the end.

    ``cooperative``: give the task back when the worker drains.
    """
    with _state(self) as state:
        state.rpush(f"{key}:starts", os.getpid())
        end = time.monotonic() + secs
        while time.monotonic() < end and not state.exists(f"{key}:go"):
            if cooperative and draining():
                raise Reject("draining", requeue=True)
            time.sleep(PAUSE)
        state.incr(f"{key}:ends")
    return {"pid": os.getpid()}


@shared_task(name="probe.die_once", bind=True)
def die_once(self: Any, key: str) -> str:
    """Kill the process it runs in, the first time."""
    with _state(self) as state:
        if state.incr(key) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@shared_task(name="probe.hop", bind=True)
def hop(self: Any, queues: list[str], trail: list[Any] | None = None) -> Any:
    """Replace itself through the queues; at the end: [role, task id] of each stop."""
    trail = [*(trail or []), [os.environ.get("LLMOS_ROLE"), self.request.id]]
    if queues:
        raise self.replace(self.s(queues[1:], trail).set(queue=queues[0]))
    return trail


@shared_task(name="probe.echo")
def echo(value: Any) -> str:
    """What arrived, in Python's words."""
    return repr(value)


@shared_task(name="probe.join")
def join(results: list[Any]) -> list[Any]:
    """Body of a chord."""
    return results


@shared_task(name="probe.goal", bind=True)
def goal(self: Any, **kwargs: Any) -> dict[str, Any]:
    """What a goal's message says."""
    traceparent = (self.request.headers or {}).get("traceparent")
    return {"id": self.request.id, "kwargs": kwargs, "traceparent": traceparent}


@shared_task(name="probe.hop_away", bind=True)
def hop_away(self: Any, **_: Any) -> Any:
    """Replace itself with a task of another queue."""
    raise self.replace(echo.s(1).set(queue="llm"))
