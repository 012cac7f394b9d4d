"""One set-up of logs for all processes: which goal a record belongs to, as text or JSON, without
secrets, whoever logs it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from functools import partial
from typing import Any

from llmos_workers.kernel import telemetry
from llmos_workers.kernel.redact import redact

GOAL_TASKS = frozenset({"llmos.goal", "llmos.replay", "llmos.think", "llmos.orchestrate"})
"""Celery tasks whose id is a goal's."""

TEXT_FACTS = ("goal_id", "run", "mode", "project")
"""What a line for people says of its goal; a worker has its log to itself."""

_about: ContextVar[Mapping[str, str]] = ContextVar("llmos_about")
_process: dict[str, str] = {}
_own: list[logging.Handler] = []


def process_is(worker: str) -> None:
    """Say once what this process is called (Celery's node name)."""
    _process["worker"] = worker


@contextmanager
def about(**facts: str) -> Iterator[None]:
    """What is logged inside, in this thread, belongs to this: ``goal_id``, ``project``, ..."""
    token = _about.set({**_about.get({}), **facts})
    try:
        yield
    finally:
        _about.reset(token)


def note(**facts: str) -> None:
    """What has become known since the enclosing ``about``; without one, nothing is kept."""
    if (known := _about.get(None)) is not None:
        _about.set({**known, **facts})


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called in another thread that works for the same goal."""
    return partial(copy_context().run, function)


class RedactingFormatter(logging.Formatter):
    """Another formatter's lines with what they are about, tracebacks included, without secrets."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """One record; its facts stand at the end of its first line."""
        facts = facts_of(record)
        words = " ".join(f"{name}={facts[name]}" for name in TEXT_FACTS if name in facts)
        head, line, rest = self._inner.format(record).partition("\n")
        return redact(f"{head} [{words}]{line}{rest}" if words else head + line + rest)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record. Text is cleaned before it is quoted: a secret may hold quotes itself."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            **_process,
            **{name: redact(value) for name, value in facts_of(record).items()},
        }
        if trace_id := telemetry.trace_id():
            told["trace_id"] = trace_id
        if record.exc_info:
            told["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def facts_of(record: logging.LogRecord) -> dict[str, str]:
    """What a record is about: the goal at work, or the one that Celery says something of."""
    facts = dict(_about.get({}))
    data = getattr(record, "data", None)  # Celery's own, of the start and end of a task
    if not facts and isinstance(data, Mapping) and data.get("name") in GOAL_TASKS:
        facts = {"goal_id": str(data.get("id")), "task": str(data["name"])}
    return facts


def dress(logger: logging.Logger, form: str = "text") -> None:
    """Let every handler of a logger write so: ``text`` (over its own format) or ``json``."""
    for handler in logger.handlers:
        _dress(handler, form)


def set_up(level: int) -> None:
    """Log to stderr as text, for programs that are no Celery worker; one with a log keeps it."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        _dress(handler, "text")
        root.addHandler(handler)
        root.setLevel(level)
        _own.append(handler)


def write_as(form: str) -> None:
    """The log that ``set_up`` made, in the form that the settings want."""
    for handler in _own:
        _dress(handler, form)


def _dress(handler: logging.Handler, form: str) -> None:
    if form == "json":
        handler.setFormatter(JsonFormatter())
    elif not isinstance(handler.formatter, RedactingFormatter):
        handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))
