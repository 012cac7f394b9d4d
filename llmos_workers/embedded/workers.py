"""A worker process of the stack: started, started again with patience, stopped."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmos_workers.embedded.keeper import ProcessKeeper, end, kill_session
from llmos_workers.worker import worker_command

logger = logging.getLogger(__name__)

STOP_GRACE_SECS = 10.0
FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 15.0
HEALTHY_SECS = 30.0
"""A worker that ran so long starts again with the first pause."""


class WorkerProcess:
    """One role's process. The owner calls revive() now and then."""

    def __init__(
        self,
        role: str,
        concurrency: int | None,
        *,
        keeper: ProcessKeeper,
        log_folder: Path,
        env: Mapping[str, str],
        log_level: str | None = None,
    ) -> None:
        self.role = role
        self.log = log_folder / f"{role}.log"
        self.name = f"{role}-{os.getpid()}"
        """Kept through restarts, so that Flower shows one worker and not many."""
        self._keeper, self._env = keeper, dict(env)
        self._command = worker_command(
            role, concurrency, name=self.name, log_level=log_level, parent=os.getpid()
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = FIRST_PAUSE_SECS
        self._not_before: float | None = None
        self._asked = False

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it now. Raises OSError."""
        self._process = self._keeper.spawn(self._command, log=self.log, env=self._env)
        self._started, self._not_before = time.monotonic(), None

    def revive(self, now: float) -> bool:
        """Start it again when it died and its pause is over; whether it was started.

        ``now`` is monotonic, in seconds.
        """
        if self._process is None or self.pid is not None:
            return False
        if self._not_before is None:
            if now - self._started > HEALTHY_SECS:
                self._pause = FIRST_PAUSE_SECS
            self._not_before = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECS)
            kill_session(self._process)  # what its prefork children left
            logger.warning(
                "the %s worker ended with code %s; starting it again", self.role,
                self._process.returncode,
            )  # fmt: skip
        if now < self._not_before:
            return False
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """TERM, without waiting. Once only: a second one cuts Celery's soft shutdown short."""
        if not self._asked and self._process is not None and self._process.poll() is None:
            self._asked = True
            self._process.terminate()

    def stop(self, grace_secs: float = STOP_GRACE_SECS) -> None:
        """TERM, wait, KILL."""
        if self._process is not None:
            self.ask_to_stop()
            end(self._process, grace_secs=grace_secs, asked=True)
            self._process = None


def stop_all(workers: Iterable[WorkerProcess]) -> None:
    """Stop them side by side."""
    workers = list(workers)
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + STOP_GRACE_SECS
    for worker in workers:
        worker.stop(max(0.1, deadline - time.monotonic()))
