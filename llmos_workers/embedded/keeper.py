"""Starting processes that end with us, and ending them.

The kernel ties a child to the *thread* that started it, so all starts go through one thread
that lives as long as its owner.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

LAUNCHER = Path(__file__).with_name("launch.py")


class ProcessKeeper:
    """Starts children in sessions of their own (Ctrl-C at the terminal reaches only us)."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[tuple[Future[subprocess.Popen[bytes]], _Order] | None]
        self._orders = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="llmos-keeper", daemon=True)
        self._thread.start()

    def spawn(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_our_death: signal.Signals = signal.SIGKILL,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start ``argv`` with its output appended to ``log``. Raises OSError."""
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        order = _Order(
            [*launcher, str(int(on_our_death)), *argv], log, dict(env or os.environ), [*pass_fds]
        )
        started: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((started, order))
        return started.result()

    def close(self) -> None:
        """End the thread, and with it, on Linux, every child that still runs."""
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._orders.get()) is not None:
            started, order = item
            try:
                started.set_result(order.carry_out())
            except OSError as error:
                started.set_exception(error)


class _Order:
    """One process to start."""

    def __init__(
        self, argv: list[str], log: Path, env: dict[str, str], pass_fds: list[int]
    ) -> None:
        self.argv, self.log, self.env, self.pass_fds = argv, log, env, pass_fds

    def carry_out(self) -> subprocess.Popen[bytes]:
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.env,
                pass_fds=self.pass_fds,
                start_new_session=True,
            )
        finally:
            os.close(file)


def end(process: subprocess.Popen[bytes], *, grace_secs: float, asked: bool = False) -> int:
    """TERM (unless ``asked`` already), wait, then KILL all of its session; the exit code."""
    if process.poll() is None:
        if not asked:
            process.terminate()
        try:
            process.wait(grace_secs)
        except subprocess.TimeoutExpired:
            kill_session(process)
    kill_session(process)
    return process.wait()


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """KILL what is left of the process group that the child leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log, for error messages."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
