"""The Celery app. ``make_app`` builds one from a configuration; ``app`` is built at first use.

``celery -A llmos_workers …`` finds it through the package. Nothing here connects or reads a
file at import.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task, current_app
from celery._state import get_current_worker_task
from celery.app.amqp import AMQP
from celery.app.routes import Router
from celery.exceptions import Reject
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_init,
    worker_process_shutdown,
    worker_shutdown,
)
from celery.worker.request import Request
from kombu.entity import Exchange, Queue

from llmos_workers import compat
from llmos_workers.app_settings import celery_settings
from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel import codec, drain, logs, telemetry
from llmos_workers.kernel.shorten import short_text
from llmos_workers.kernel.wire import describe

OUR_PREFIX = "llmos."
CELERYS_QUEUE = "celery"
"""Where a task of an app that configures nothing goes."""

MAX_SHOWN = 160
RESULT_REPR_CHARS = 120
EVENT_TEXTS = {"result": RESULT_REPR_CHARS, "exception": 300}
"""Fields of task events that may hold texts of a goal, and how many characters are shown."""

codec.register()  # whoever imports the app can read what its tasks send


class HostRouter(Router):  # type: ignore[misc]
    """Our tasks go to our queues in our codec; callbacks of other apps to theirs, in JSON.

    A chord's body and links come with the goals of a plain app and are sent by our workers:
    their queues are nowhere configured here, and our codec is not known there.
    """

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """As Celery's for tasks of this app. Raises QueueNotFound for them only."""
        if name.startswith(OUR_PREFIX) or name in self.app.tasks:
            routed: dict[str, Any] = super().route(options, name, args, kwargs, task_type)
            return routed
        queue = options.get("queue") or CELERYS_QUEUE
        if isinstance(queue, str):
            queue = Queue(queue, Exchange(queue), routing_key=queue)
        return {"serializer": "json", **options, "queue": queue}


class QuietAMQP(AMQP):  # type: ignore[misc]
    """Producer side of "no prompts in Redis, logs and Flower": writes the arguments' short form."""

    def Router(self, queues: Any = None, create_missing: Any = None) -> Any:  # noqa: N802
        """As Celery's, with a HostRouter."""
        missing = self.app.either("task_create_missing_queues", create_missing)
        return HostRouter(self.routes, queues or self.queues, missing, app=self.app)

    def as_task_v2(
        self,
        task_id: str,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        *rest: Any,
        argsrepr: str | None = None,
        kwargsrepr: str | None = None,
        **options: Any,
    ) -> Any:
        """As Celery's; an ``argsrepr`` given by the sender is kept, shortened and redacted.

        A task that replaces itself goes on under the words it came with.
        """
        given = argsrepr or _words_of_replaced(task_id)
        shown = short_text(given, MAX_SHOWN) if given else _shown(task_id, kwargs)
        named = short_text(kwargsrepr) if kwargsrepr else "{}"
        return super().as_task_v2(
            task_id, name, args, kwargs, *rest, argsrepr=shown, kwargsrepr=named, **options
        )


class QuietRequest(Request):  # type: ignore[misc]
    """Worker side of the same, for messages of apps that know nothing of llmos."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        kwargs = self._kwargs
        if isinstance(kwargs, dict) and isinstance(kwargs.get("goal"), str):
            self._argsrepr, self._kwargsrepr = _shown(self.id, kwargs), "{}"
        elif self._argsrepr:
            # A sender elsewhere does not know what is a secret here.
            self._argsrepr = short_text(self._argsrepr, MAX_SHOWN)
        self._request_dict |= {"argsrepr": self._argsrepr, "kwargsrepr": self._kwargsrepr}

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """As Celery's, with results and errors shortened and without secrets."""
        for name, limit in EVENT_TEXTS.items():
            if isinstance(fields.get(name), str):
                fields[name] = short_text(fields[name], limit)
        super().send_event(type, **fields)


class LLMOSTask(Task):  # type: ignore[misc]
    """Base of all tasks: short representations, and no start once the worker drains."""

    abstract = True
    Request = "llmos_workers.app:QuietRequest"
    resultrepr_maxsize = RESULT_REPR_CHARS

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        """A task that was waiting in a thread pool goes back to its queue when the worker stops."""
        if drain.draining() and not self.request.is_eager:
            raise Reject("the worker is stopping", requeue=True)

    def replace(self, sig: Any) -> Any:
        """As Celery's; the next hop keeps the priority too."""
        priority = (self.request.delivery_info or {}).get("priority")
        if priority is not None:
            sig.options.setdefault("priority", priority)
        return super().replace(sig)


def make_app(config: LLMOSConfig, *, redis_url: str | None = None) -> Celery:
    """The app for this configuration; connects at its first message.

    ``redis_url`` (without a database) beats ``config.redis.url``; with neither, the embedded
    stack of the workspace is used when one is up. Raises ConfigError for a URL that is no
    Redis URL.
    """
    from llmos_workers.embedded.discovery import redis_url_for

    app = Celery(
        "llmos",
        amqp=QuietAMQP,
        task_cls=LLMOSTask,
        config_source=celery_settings(config, redis_url or redis_url_for(config)),
        fixups=[],
    )
    app.llmos_config = config
    compat.apply()
    drain.install()
    for ready in (after_setup_logger, after_setup_task_logger):
        ready.connect(_dress, dispatch_uid="llmos-logs")
    celeryd_init.connect(_named, dispatch_uid="llmos-name")
    for over in (worker_shutdown, worker_process_shutdown):
        over.connect(_send_traces, dispatch_uid="llmos-traces")
    _add_steps(app)
    return app


def _dress(logger: logging.Logger, **_options: Any) -> None:
    """As the settings of the worker's app say; without one, for people."""
    config: LLMOSConfig | None = getattr(current_app, "llmos_config", None)
    logs.dress(logger, config.logging.format if config else "text")


def _named(sender: str, **_options: Any) -> None:
    logs.process_is(sender)


def _send_traces(**_options: Any) -> None:
    """A prefork child ends without Python's own clearing up."""
    telemetry.stop()


def _add_steps(app: Celery) -> None:
    from llmos_workers.worker_heartbeat import Heartbeat
    from llmos_workers.worker_lease import VisibilityLease
    from llmos_workers.worker_pool import PoolGuard
    from llmos_workers.worker_recovery import RecoveryClock
    from llmos_workers.worker_schema import SchemaGate
    from llmos_workers.worker_upkeep import UpkeepClock

    app.steps["worker"].add(PoolGuard)
    app.steps["worker"].add(SchemaGate)
    app.steps["consumer"].add(VisibilityLease)
    app.steps["consumer"].add(Heartbeat)
    app.steps["consumer"].add(UpkeepClock)
    app.steps["consumer"].add(RecoveryClock)


def _shown(task_id: str, kwargs: Any) -> str:
    """``(goal id: short text)``, or just the id where the arguments hold no goal."""
    given = kwargs if isinstance(kwargs, dict) else {}
    goal_id, text = given.get("goal_id") or task_id, given.get("goal")
    return describe(goal_id, text) if isinstance(text, str) else f"({goal_id})"


def _words_of_replaced(task_id: str) -> str | None:
    """The argsrepr of the running task, when the message is its own next hop."""
    task = get_current_worker_task()
    request = task.request if task else None
    return request.get("argsrepr") if request and request.id == task_id else None


def __getattr__(name: str) -> Any:
    """``app`` (also ``celery``): built from the environment's configuration at first use."""
    if name not in ("app", "celery"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llmos_workers.config_sources import load_config

    app = globals()["app"] = globals()["celery"] = make_app(load_config())
    return app
