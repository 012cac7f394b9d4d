"""Cooperative stopping: a long task asks ``draining()`` between its steps.

Neither a thread nor a step half done can be interrupted, so a stopping worker asks instead: the
task gives its goal back and raises ``Reject(requeue=True)``, and another worker goes on from the
journal. For a step that takes longer, a prefork worker has Celery's soft shutdown, which bounds
the wait.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Any

POLL_SECS = 0.05

_SLOTS = 4095
_shared = mmap.mmap(-1, 1 + _SLOTS)
"""The flag, and a byte for each process that is at work: memory that a worker's main process
shares with its prefork children. It is written inside a signal handler, where taking a lock could
hang."""


def draining() -> bool:
    """Whether this worker is stopping: finish the step at hand and give the task back."""
    return _shared[0] != 0


def begin(**_: Any) -> None:
    """Raise the flag (receiver of Celery's worker_shutting_down)."""
    _shared[0] = 1


def reset() -> None:
    """Lower the flag, for a process that starts another worker."""
    _shared[0] = 0


def task_begins(**_: Any) -> None:
    """This process begins a task (receiver of Celery's task_prerun)."""
    _shared[_slot()] = 1


def task_ends(**_: Any) -> None:
    """It ended it, in whatever way (receiver of task_postrun)."""
    _shared[_slot()] = 0


def _slot() -> int:
    return 1 + os.getpid() % _SLOTS


def finish_steps(longest_s: float) -> None:
    """Raise the flag, and wait until no child of this worker is at work, ``longest_s`` at most."""
    begin()
    end = time.monotonic() + longest_s
    while any(_shared[1:]) and time.monotonic() < end:
        time.sleep(POLL_SECS)


def install() -> None:
    """Raise the flag when the worker of this process is told to stop. May be called again."""
    from celery import signals

    signals.worker_shutting_down.connect(begin, weak=False, dispatch_uid="llmos-drain")
    signals.task_prerun.connect(task_begins, weak=False, dispatch_uid="llmos-drain-begin")
    signals.task_postrun.connect(task_ends, weak=False, dispatch_uid="llmos-drain-end")
