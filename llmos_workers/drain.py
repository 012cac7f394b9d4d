"""Cooperative stopping: a long task asks ``draining()`` between its steps.

Thread pools have no time limit and cannot be interrupted, so a stopping worker asks instead:
the task checkpoints and raises ``Reject(requeue=True)``, and another worker goes on from the
journal. A prefork child does not see the flag (it is set in the worker's main process); there
Celery's soft shutdown bounds the wait.
"""

from __future__ import annotations

from typing import Any


class _Flag:
    """A plain attribute: it is set inside a signal handler, where taking a lock could hang."""

    up = False


def draining() -> bool:
    """Whether this worker is stopping: finish the step at hand and give the task back."""
    return _Flag.up


def begin(**_: Any) -> None:
    """Raise the flag (receiver of Celery's worker_shutting_down)."""
    _Flag.up = True


def reset() -> None:
    """Lower the flag, for a process that starts another worker."""
    _Flag.up = False


def install() -> None:
    """Raise the flag when the worker of this process is told to stop. May be called again."""
    from celery import signals

    signals.worker_shutting_down.connect(begin, weak=False, dispatch_uid="llmos-drain")
