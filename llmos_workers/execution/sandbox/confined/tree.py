"""All processes below one: listing them, counting what they use, ending them."""

from __future__ import annotations

# The public module builds enums, which costs 4 ms of each start.
import _signal as signal  # type: ignore[import-not-found]
import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_PAGE = os.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> bytes:
    """A whole file, with fewer system calls than a file object makes."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while piece := os.read(fd, 65_536):
            data += piece
        return data
    finally:
        os.close(fd)


def children(pid: int) -> list[int]:
    """Direct children of a process, over all its threads."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
        except OSError:
            continue
    return found


def below(pid: int, spare: Container[int] = ()) -> list[int]:
    """All descendants of a process, parents before their children, without ``spare`` and theirs."""
    found: list[int] = []
    pending = children(pid)
    while pending:
        first = pending.pop(0)
        if first not in spare:
            found.append(first)
            pending = children(first) + pending
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that processes hold together; shared pages count once for each."""
    total = 0
    for pid in pids:
        try:
            total += int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
        except (OSError, IndexError):
            continue
    return total


def end_all(pid: int, spare: Container[int] = ()) -> None:
    """End all descendants of ``pid`` (this process, a subreaper) and collect them.

    They are stopped first, so that none can start another while the list is worked through.
    ``spare`` are children that stay, with all below them.
    """
    while victims := below(pid, spare):
        stopped: set[int] = set()
        while fresh := [victim for victim in victims if victim not in stopped]:
            _send(fresh, signal.SIGSTOP)
            stopped.update(fresh)
            victims = below(pid, spare)
        _send(victims, signal.SIGKILL)
        for victim in victims:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(victim, 0)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
