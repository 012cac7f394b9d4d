"""The worker's side of one warm runner process (see confined.runner): frames in and out.

Nothing that comes back is trusted: frames are bounded, waits end, and a runner that did anything
but what it is for is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.execution.sandbox.identity import UNUSED_IDS, can_change_user

PROGRAM = Path(__file__).parent / "confined" / "runner.py"
START_S = 10.0
"""How long a runner may take to get ready."""
MAX_FRAME = 16 << 20
STATUS = 3
_OWN_ID = UNUSED_IDS[-1]
"""Nothing on this machine belongs to it."""


class Broken(Exception):
    """The runner died, was too slow, or said what it must not; ``str`` says which."""


class Channel:
    """One runner process. Not for several threads at once."""

    def __init__(self) -> None:
        """Start it. Raises SandboxUnavailable when it could not be confined."""
        ends: list[int] = []
        try:
            stdin, self._to = os.pipe()
            ends += [stdin, self._to]
            self._from, stdout = os.pipe()
            ends += [self._from, stdout]
            self._status, status = os.pipe()
            ends += [self._status, status]
            uid = _OWN_ID if can_change_user() else 0
            python = getattr(sys, "_base_executable", None) or sys.executable
            self.pid = os.posix_spawn(
                python,
                [python, "-I", "-S", str(PROGRAM), str(os.getpid()), str(uid)],
                {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, stdout, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, status, STATUS),
                ],
                setsid=True,
                setsigmask=[],
            )
        except OSError as error:
            for end in ends:
                os.close(end)
            raise _unavailable(str(error)) from error
        for end in (stdin, stdout, status):
            os.close(end)
        os.set_blocking(self._to, False)
        self.used = False
        """Whether a run has ended on it that nobody has seen settled."""
        try:
            self._started()
        except BaseException:
            self.kill()
            raise

    def _started(self) -> None:
        try:
            self._wait(self._status, time.monotonic() + START_S)
        except Broken as error:
            raise _unavailable(str(error)) from None
        if os.read(self._status, 1) != b"+":
            raise _unavailable("it ended before it was ready")

    def send(self, value: object, *, until: float) -> None:
        """Write one frame by ``until`` (monotonic). Raises Broken."""
        body = json.dumps(value).encode()
        if len(body) > MAX_FRAME:
            raise Broken("what it is told is too long")
        data = memoryview(len(body).to_bytes(4, "big") + body)
        poll = select.poll()
        poll.register(self._to, select.POLLOUT)
        while data:
            try:
                data = data[os.write(self._to, data) :]
            except BlockingIOError:
                if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                    raise Broken("it does not listen") from None
            except OSError:
                raise Broken("it is gone") from None

    def receive(self, *, until: float) -> dict[str, Any]:
        """The next frame, by ``until``. Raises Broken, also when the tool's process is gone."""
        size = int.from_bytes(self._exactly(4, until), "big")
        if size > MAX_FRAME:
            raise Broken("it says too much")
        try:
            frame = json.loads(self._exactly(size, until))
        except (ValueError, RecursionError):
            raise Broken("it does not speak as agreed") from None
        if not isinstance(frame, dict):
            raise Broken("it does not speak as agreed")
        return frame

    def settled(self, *, until: float) -> None:
        """Return when the tool's process is gone and has said nothing more. Raises Broken."""
        self._wait(self._status, until)
        if os.read(self._status, 1) != b".":
            raise Broken("it is gone")
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if poll.poll(0):
            raise Broken("it goes on after its end")
        self.used = False

    def _exactly(self, size: int, until: float) -> bytes:
        data = b""
        while len(data) < size:
            self._wait(self._from, until, self._status)
            piece = os.read(self._from, min(size - len(data), 1 << 16))
            if not piece:
                raise Broken("it is gone")
            data += piece
        return data

    def _wait(self, fd: int, until: float, end: int | None = None) -> None:
        """Return when ``fd`` can be read; what ``end`` says first means that it never will."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if end is not None:
            poll.register(end, select.POLLIN)
        ready = {one for one, _ in poll.poll(max(0.0, until - time.monotonic()) * 1000)}
        if fd in ready:
            return
        raise Broken("it used too much time or memory" if ready else "it takes too long")

    def kill(self) -> None:
        """End it and what it runs, and collect it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.forget()

    def forget(self) -> None:
        """Close our ends; a runner without them ends by itself."""
        for fd in (self._to, self._from, self._status):
            with contextlib.suppress(OSError):
                os.close(fd)


def _unavailable(fault: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"generated tools cannot be confined: {fault or 'unknown'}.", fix="See llmos doctor."
    )
