"""A program on a terminal of its own: what it shows is read, and keys are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

ROWS, COLUMNS = 50, 120
PATIENCE_S = 60.0
TAKE_THE_TERMINAL = "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes the terminal on file 0 the session's own, so that shells edit lines and Ctrl-C arrives."""
PIPED = (
    "import os, sys; kept = os.dup(1); os.login_tty(0); os.dup2(kept, 1); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
"""The same with stdout left where it goes."""


class Terminal:
    """Runs a program on a pseudo-terminal; a context manager that leaves no process behind."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdout: IO[bytes] | None = None,
    ) -> None:
        self._fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        starter = TAKE_THE_TERMINAL if stdout is None else PIPED
        self.process = subprocess.Popen(
            [sys.executable, "-c", starter, *argv],
            stdin=inner,
            stdout=inner if stdout is None else stdout,
            stderr=inner,
            env={**env, "TERM": "xterm", "COLUMNS": str(COLUMNS)},
            cwd=cwd,
        )
        os.close(inner)
        self._seen = ""

    def keys(self, text: str) -> None:
        """Type something."""
        os.write(self._fd, text.encode())

    def until(self, text: str) -> str:
        """What was shown since the last call, to the end of the first ``text`` in it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._seen:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} was not shown, but {self._seen!r}")
        shown, _, self._seen = self._seen.partition(text)
        return shown + text

    def rest(self) -> str:
        """What is shown until the program ends."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        self.process.wait(PATIENCE_S)
        return self._seen

    def _read(self, deadline: float) -> bool:
        """Take what there is; False at the program's end or when it is too late."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            got = os.read(self._fd, 65_536)
        except OSError:  # how Linux says that nobody holds the other end
            return False
        self._seen += got.decode(errors="replace")
        return bool(got)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)
