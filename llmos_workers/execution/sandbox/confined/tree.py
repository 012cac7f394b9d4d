"""All processes below one: listing them, counting what they use, ending them."""

from __future__ import annotations

# The public module builds enums, which costs 4 ms of each start.
import _signal as signal  # type: ignore[import-not-found]
import contextlib
import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """Direct children of a process, over all its threads."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found += [int(child) for child in file.read().split()]
        except OSError:
            continue
    return found


def below(pid: int) -> list[int]:
    """All descendants of a process, parents before their children."""
    found: list[int] = []
    pending = children(pid)
    while pending:
        found.append(pending[0])
        pending = children(pending.pop(0)) + pending
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that processes hold together; shared pages count once for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123
                total += int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            continue
    return total


def end_all(pid: int) -> None:
    """End all descendants of ``pid`` (this process, a subreaper) and collect them.

    They are stopped first, so that none can start another while the list is worked through.
    """
    while victims := below(pid):
        stopped: set[int] = set()
        while fresh := [victim for victim in victims if victim not in stopped]:
            _send(fresh, signal.SIGSTOP)
            stopped.update(fresh)
            victims = below(pid)
        _send(victims, signal.SIGKILL)
        for victim in victims:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(victim, 0)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
