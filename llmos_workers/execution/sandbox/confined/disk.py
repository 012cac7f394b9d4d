"""How much disk a command has taken: cheap while little goes, exact when much has gone."""

from __future__ import annotations

import os
import time

_BLOCK = 512
_LEAST = 4_096
"""Counted for each file or folder, however small: they take room, too."""
_KIND, _FOLDER, _REGULAR = 0o170000, 0o040000, 0o100000


class Disk:
    """What is written below ``folders`` from now on may take ``limit`` bytes."""

    def __init__(self, folders: list[str], limit: int) -> None:
        self.folders = folders
        self.limit = limit
        self.began_ns = time.time_ns()
        self.free = [_free(folder) for folder in folders]

    def full(self, pids: list[int]) -> bool:
        """Whether it is past the limit; ``pids`` may hold files that no folder names any more.

        Only looked at closely when a file system has lost as much, to whomever.
        """
        now = [_free(folder) for folder in self.folders]
        gone = [
            had - has
            for before, after in zip(self.free, now, strict=True)
            for had, has in zip(before, after, strict=True)
        ]
        if max(gone) <= self.limit:
            return False
        taken = 0
        for folder in self.folders:
            taken = self._below(folder, taken)
        return taken + _unnamed(pids) > self.limit

    def _below(self, folder: str, taken: int) -> int:
        """``taken`` and what changed below a folder since the start, as far as it matters."""
        pending = [folder]
        while pending and taken <= self.limit:
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
                    taken += max(_LEAST, facts.st_blocks * _BLOCK)
        return taken


def _free(folder: str) -> tuple[int, int]:
    """Bytes by blocks, and by names."""
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize, found.f_ffree * _LEAST


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
