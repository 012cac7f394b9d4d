"""Level 0: what stands in where a host cannot confine commands."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.execution.sandbox.base import Limits, Network, SandboxResult
from llmos_workers.execution.sandbox.process import Stream, drain

logger = logging.getLogger(__name__)


class RefusingSandbox:
    """Runs nothing and says why."""

    level = 0

    def __init__(self, reasons: Sequence[str]) -> None:
        self._reasons = "; ".join(reasons)

    def prepare(self, area: Path) -> None:
        """Nothing to do."""

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout_s: float,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
        cancelled: Callable[[], bool] | None = None,
        network: Network | None = None,
    ) -> SandboxResult:
        """Raises SandboxUnavailable."""
        del argv, cwd, timeout_s, limits, env, cancelled, network
        raise SandboxUnavailable(
            f"commands cannot be confined on this host: {self._reasons}.",
            fix="Use a Linux kernel with Landlock, or set security.allow_unconfined = true with "
            'security.sandbox = "prefer" to run them with the worker\'s own rights.',
        )


class UnconfinedSandbox:
    """Runs commands with the worker's own rights: only for hosts that cannot do better.

    The environment is scrubbed, output is capped, and the process group is ended; a command can
    do everything else that the worker can.
    """

    level = 0

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()

    def prepare(self, area: Path) -> None:
        """Nothing to do."""

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout_s: float,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
        cancelled: Callable[[], bool] | None = None,
        network: Network | None = None,
    ) -> SandboxResult:
        """Run the command in a session of its own, on the worker's network."""
        del network
        fixed = {"PATH": os.defpath, "HOME": str(cwd), "LANG": "C.UTF-8"}
        with subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**fixed, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            if process.stdout is None:
                raise SandboxUnavailable("the command has no pipe.")
            output = Stream(process.stdout.fileno(), (limits or self.limits).output)
            try:
                until = time.monotonic() + timeout_s
                reason = drain([output], until=until, cancelled=cancelled or (lambda: False))
            finally:
                _end_group(process.pid)
            code = process.wait()
        return SandboxResult(
            exit_code=code,
            output=output.text,
            timed_out=reason == "timeout",
            cancelled=reason == "cancelled",
            killed_for=reason or None,
            output_bytes=output.seen,
            truncated=output.cut,
        )


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
