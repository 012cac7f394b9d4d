"""Reading from a process without trusting it: bounded memory, bounded time, cancellable."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_PRINTED_BYTES = 64 << 20
"""A command that prints more than this is ended."""

_CHUNK = 65_536
_LOOK_S = 0.05


@dataclass
class Stream:
    """One pipe's bytes: the first ``limit`` kept, all counted."""

    fd: int
    limit: int
    kept: bytearray = field(default_factory=bytearray)
    seen: int = 0
    open: bool = True

    def take(self) -> None:
        """Read what is there; notes the end."""
        piece = os.read(self.fd, _CHUNK)
        self.open = bool(piece)
        self.seen += len(piece)
        self.kept += piece[: max(0, self.limit - len(self.kept))]

    @property
    def text(self) -> str:
        """What was kept, as UTF-8 with replacements; a character cut in two is left out."""
        return bytes(self.kept).decode("utf-8", errors="replace").rstrip("\ufffd" * self.cut)

    @property
    def cut(self) -> bool:
        """Whether not all was kept."""
        return self.seen > len(self.kept)


def drain(
    streams: list[Stream],
    *,
    until: float,
    cancelled: Callable[[], bool],
) -> str:
    """Read all streams to their ends.

    Returns "" at the end of all, else why it stopped early: ``cancelled``, ``output`` or
    ``timeout`` (``until`` on the monotonic clock has passed).
    """
    poll = select.poll()
    for stream in streams:
        poll.register(stream.fd, select.POLLIN)
    by_fd = {stream.fd: stream for stream in streams}
    looked = time.monotonic()
    while any(stream.open for stream in streams):
        for fd, _ in poll.poll(_LOOK_S * 1000):
            by_fd[fd].take()
            if not by_fd[fd].open:
                poll.unregister(fd)
        if any(stream.seen > MAX_PRINTED_BYTES for stream in streams):
            return "output"
        now = time.monotonic()
        if now >= until:
            return "timeout"
        if now - looked >= _LOOK_S:
            looked = now
            if cancelled():
                return "cancelled"
    return ""
