"""What a sandbox is: it runs one command, confined, and leaves nothing running."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MAX_OUTPUT_BYTES = 200_000
"""Bytes of a command's output that are kept; the rest is read, counted and dropped."""


@dataclass(frozen=True)
class Limits:
    """What one command may use. Sizes in bytes, times in seconds."""

    memory: int = 2_048 << 20
    """Private memory of each process, and resident memory of all of them together."""
    cpu: int = 60
    """CPU time of each process."""
    file_size: int = 256 << 20
    disk: int = 1_024 << 20
    """What all files together may grow by. Looked at ten times a second: a fast writer gets a
    little further before it is ended."""
    processes: int = 128
    open_files: int = 512
    output: int = MAX_OUTPUT_BYTES


@dataclass(frozen=True)
class SandboxResult:
    """How a command ended. ``exit_code`` is -N when signal N ended it."""

    exit_code: int
    output: str
    """stdout and stderr as they came, decoded as UTF-8, at most Limits.output bytes."""
    timed_out: bool = False
    cancelled: bool = False
    killed_for: str | None = None
    """What made the sandbox end it: timeout, cancelled, memory, processes, disk, output."""
    output_bytes: int = 0
    """All that the command printed, kept or not."""
    truncated: bool = False
    notes: tuple[str, ...] = ()
    """What the command had to do without on this host, in words."""


class Network(Protocol):
    """The other end of a command's one way out, such as execution.net.egress."""

    def serve(self, listener: socket.socket) -> None:
        """Answer, in the background, whatever connects to a listening socket; it is ours now."""
        ...

    def close(self) -> None:
        """The command is gone: hang up."""
        ...


@dataclass(frozen=True)
class SandboxReport:
    """What this host can do. ``reasons`` says what is missing and what stays open."""

    level: int
    """0: nothing; 1: Landlock, seccomp, limits, whole-tree kill."""
    landlock_abi: int
    seccomp: bool
    reasons: tuple[str, ...] = ()
    other_user: bool = False
    """Whether commands run as another user than the worker (only as root)."""


class Sandbox(Protocol):
    """Runs commands; see sandbox.level1 for level 1 and sandbox.unconfined for level 0."""

    @property
    def level(self) -> int:
        """0 none, 1 Landlock, seccomp and limits."""
        ...

    def prepare(self, area: Path) -> None:
        """Make the area's files usable by confined commands; cheap when they already are."""
        ...

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
        """Run ``argv`` in ``cwd``, the one folder it may write besides its private HOME.

        Returns when the command and all that it started are gone. ``env`` adds to the fixed
        environment. Without ``network`` it has none; with it, nothing but that. Raises
        SandboxUnavailable when the host cannot confine it.
        """
        ...
