"""The worker's side of the zygote: one for each process, started at its first command.

The zygote is a program of its own, started with an empty environment and no descriptors of
ours but one socket, so nothing of the worker is in the processes that it forks. A launcher
lives on when the zygote dies, and ends when we do: it holds our pidfd and a pipe of ours.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from llmos_workers.contracts.errors import SandboxUnavailable

PROGRAM = Path(__file__).parent / "confined" / "zygote.py"
GRACE_S = 10.0
"""How long the zygote may take to answer before it is killed."""


@dataclass(frozen=True)
class Launcher:
    """A launcher that waits for its order; see confined.jail for its three pipes."""

    control: FileIO
    output: FileIO
    report: FileIO
    pidfd: int

    def ended(self, within_s: float) -> bool:
        """Wait for its end; False when it still runs after ``within_s`` seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def kill(self) -> None:
        """End it hard. A pidfd never means another process; the zygote ends what is left."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Zygote:
    """Starts launchers, and itself when it is not running. For many threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self.pid = 0
        """Process id; 0 when it was not needed yet or was found dead."""
        self._pidfd = -1

    @contextlib.contextmanager
    def launcher(self, *, two_way: bool = False) -> Iterator[Launcher]:
        """A launcher without an order. Raises SandboxUnavailable. ``two_way``: its control is a
        socket, over which it can answer.

        Asking twice is safe: a launcher that gets no order through its own pipes does nothing.
        """
        fault = ""
        for _ in range(2):
            with contextlib.ExitStack() as opened:
                try:
                    launcher = self._attempt(opened, two_way)
                except OSError as error:
                    fault = str(error) or type(error).__name__
                    continue
                yield launcher
                return
        raise SandboxUnavailable(
            f"the command could not be confined: {fault}.", fix="See llmos doctor."
        )

    def _attempt(self, opened: contextlib.ExitStack, two_way: bool) -> Launcher:
        """A launcher whose descriptors here close with ``opened``. Raises OSError."""
        with contextlib.ExitStack() as theirs:
            stdin, control = (_line if two_way else _pipe)(theirs, opened)
            output, stdout = _pipe(opened, theirs)
            report, stderr = _pipe(opened, theirs)
            ends = [file.fileno() for file in (stdin, stdout, stderr)]
            pidfd = self._request(ends)
        opened.callback(os.close, pidfd)
        return Launcher(control, output, report, pidfd)

    def _request(self, pipes: list[int]) -> int:
        """Have one launcher forked; its pidfd. Raises OSError."""
        with self._lock:
            channel = self._channel or self._start()
            try:
                socket.send_fds(channel, [b"r"], pipes)
                answer, fds, _, _ = socket.recv_fds(channel, 4_096, 1, socket.MSG_CMSG_CLOEXEC)
                if not answer:
                    raise ConnectionResetError("the zygote died")
            # After half an exchange, of whatever cause, the next answer would be another's.
            except BaseException:
                self._put_away()
                raise
        if not fds:
            raise OSError(answer.decode("utf-8", "replace"))
        return fds[0]

    def _start(self) -> socket.socket:
        python = getattr(sys, "_base_executable", None) or sys.executable
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.pid = os.posix_spawn(
                    python,
                    [python, "-I", "-S", str(PROGRAM), str(os.getpid())],
                    {"LANG": "C.UTF-8"},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    ],
                    setsid=True,
                    setsigmask=[],
                )
                self._pidfd = os.pidfd_open(self.pid)
            except BaseException:
                channel.close()
                raise
        channel.settimeout(GRACE_S)
        self._channel = channel
        return channel

    def _put_away(self) -> None:
        """Make sure that it is dead, and collect it. Its launchers go on."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.forget()

    def forget(self) -> None:
        """Close what leads to it; it ends when no process holds the socket or its worker does."""
        if self._channel is not None:
            self._channel.close()
            os.close(self._pidfd)
        self._channel, self._pidfd, self.pid = None, -1, 0

    def start_anew(self) -> None:
        """In a fork of the worker: the parent's zygote is not ours, nor is its lock."""
        self.forget()
        self._lock = threading.Lock()


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """A pipe whose ends close with the one and the other stack."""
    read, write = os.pipe()
    return reader.enter_context(FileIO(read, "rb")), writer.enter_context(FileIO(write, "wb"))


def _line(their: contextlib.ExitStack, our: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """A pair of connected sockets; each end closes with its stack."""
    ours, theirs = socket.socketpair()
    return (
        their.enter_context(FileIO(theirs.detach(), "r+b")),
        our.enter_context(FileIO(ours.detach(), "r+b")),
    )


ZYGOTE = Zygote()
"""This process's own."""

atexit.register(ZYGOTE.forget)
os.register_at_fork(after_in_child=ZYGOTE.start_anew)
