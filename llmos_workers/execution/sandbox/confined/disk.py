"""How much disk a command has taken, looked at often while that is cheap."""

from __future__ import annotations

import os
import time

_BLOCK = 512
_LEAST = 4_096
"""Bytes counted for a file or folder that holds none: it takes room, too."""
_KIND, _FOLDER, _REGULAR = 0o170000, 0o040000, 0o100000
_PAUSE = 20
"""A look that took so long is not repeated before so many times that."""


class Disk:
    """What is written below ``folders`` from now on may take ``limit`` bytes."""

    def __init__(self, folders: list[str], limit: int) -> None:
        self.folders = folders
        self.limit = limit
        self.began_ns = time.time_ns()
        self.free = [_free(folder) for folder in folders]
        self.next_look = 0.0

    def full(self, pids: list[int]) -> bool:
        """Whether it is past the limit; ``pids`` may hold files that no folder names any more.

        Files that changed may hold what was there before: they count once a file system has lost
        a good part of the limit, to whomever.
        """
        started = time.monotonic()
        if started < self.next_look:
            return False
        sure, claimed = _unnamed(pids), 0
        for folder in self.folders:
            names, changed = self._below(folder)
            sure, claimed = sure + names * _LEAST, claimed + changed
        self.next_look = started + _PAUSE * (time.monotonic() - started)
        return sure > self.limit or (sure + claimed > self.limit and self._lost() > self.limit // 4)

    def _below(self, folder: str) -> tuple[int, int]:
        """Below a folder, of what changed since the start: how many files and folders that hold
        nothing, and how many bytes the others hold. Enough is enough.
        """
        names = changed = 0
        pending = [folder]
        while pending and max(names * _LEAST, changed) <= self.limit:
            try:
                entries = list(os.scandir(pending.pop()))
            except OSError:
                continue
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if facts.st_mode & _KIND == _FOLDER:
                    pending.append(entry.path)
                if facts.st_ctime_ns >= self.began_ns:
                    names += not facts.st_blocks
                    changed += facts.st_blocks * _BLOCK
        return names, changed

    def _lost(self) -> int:
        now = [_free(folder) for folder in self.folders]
        return max(had - has for had, has in zip(self.free, now, strict=True))


def _free(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


def _unnamed(pids: list[int]) -> int:
    """Bytes of files that are open, but removed."""
    taken: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208
        except OSError:
            continue
        for number in numbers:
            try:
                facts = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116
            except OSError:
                continue
            if not facts.st_nlink and facts.st_mode & _KIND == _REGULAR:
                taken[facts.st_dev, facts.st_ino] = facts.st_blocks * _BLOCK
    return sum(taken.values())
