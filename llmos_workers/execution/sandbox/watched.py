"""A sandbox that tells which files and folders its commands opened to read.

Each file's time of last access is set to 0 before a command, and looked at after it: the kernel
moves it at the first read, on every mount but one with ``noatime`` (which a trial at the start
finds). It costs two system calls a file and needs no right. What a command only asks about (that
a file is there, its size) does not show. For scratch copies only: times of files are changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.commits import FileKind
from llmos_workers.execution.sandbox.base import Limits, Network, Sandbox, SandboxResult
from llmos_workers.kernel import tree
from llmos_workers.kernel.scratch import Scratch
from llmos_workers.kernel.tainted import TaintedFiles


class WatchedSandbox:
    """Runs commands in a scratch copy by way of another sandbox, and notes what they read."""

    def __init__(self, inner: Sandbox, scratch: Scratch) -> None:
        self._inner, self._scratch = inner, scratch
        self._marked: dict[str, FileKind] = {}
        self._works: bool | None = None
        self.read: frozenset[str] | None = None
        """What the last command read: paths of files, and of folders with a slash at the end
        (the area itself is ``./``). None: that cannot be seen on this file system."""

    @property
    def level(self) -> int:
        """Level of the sandbox behind this one."""
        return self._inner.level

    def prepare(self, area: Path) -> None:
        """Get the area ready, then forget who read its files. Before anybody looks at them:
        the times that show a file's change move too.
        """
        self._inner.prepare(area)
        if self._works is None:
            self._works = _times_move(self._scratch.root)
        self._marked = {}
        if not self._works:
            return
        for path, entry in tree.scan(area).items():
            # Too large to copy: still the published file, whose times are not ours to set.
            if entry.kind is not FileKind.LINK and path not in self._scratch.read_only:
                self._marked[path] = entry.kind
                if entry.kind is FileKind.FILE:
                    _forget_reads(area / path)

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
        """See Sandbox.run. A trial reaches nothing: what is out there would be done once more."""
        del network
        area = self._scratch.area
        folders = [path for path, kind in self._marked.items() if kind is FileKind.FOLDER]
        for folder in ("", *folders):
            _forget_reads(area / folder)
        result = self._inner.run(
            argv, cwd=cwd, timeout_s=timeout_s, limits=limits, env=env, cancelled=cancelled
        )
        self.read = self._seen() if self._works else None
        return result

    def _seen(self) -> frozenset[str]:
        area = self._scratch.area
        seen = {"./"} if _was_read(area) else set[str]()
        seen.update(self._scratch.read_only)
        for path, kind in self._marked.items():
            if _was_read(area / path):
                seen.add(f"{path}/" if kind is FileKind.FOLDER else path)
        return frozenset(seen)


class TaintedReads:
    """Tells which tainted file a command opened to read. Where that cannot be seen, on a file
    system that does not keep it or as the file is still the published one: all that are there.
    """

    def __init__(self, area: Path, files: TaintedFiles) -> None:
        """After the area was made ready for commands, and before anybody looks at its files."""
        there = {path: area / path for path in files.paths if os.path.lexists(area / path)}
        self._files, self._there = files, there
        self._unseen = bool(there) and not _times_move(area.parent)
        for path in there.values():
            if _is_own(path):
                _forget_reads(path)

    def met(self) -> str:
        """The first file that was read, or may have been, in words; "" for none."""
        for path, place in self._there.items():
            if self._unseen or not _is_own(place) or _was_read(place):
                return f"{path}, from {self._files.paths[path].source}"
        return ""


def _is_own(path: Path) -> bool:
    """Whether a file has no other name: its times are nobody else's."""
    with suppress(OSError):
        return path.lstat().st_nlink == 1
    return True


def _forget_reads(path: Path) -> None:
    with suppress(OSError):
        facts = path.lstat()
        os.utime(path, ns=(0, facts.st_mtime_ns), follow_symlinks=False)


def _was_read(path: Path) -> bool:
    """Also true of what is gone: who removed it may have read it."""
    try:
        return path.lstat().st_atime_ns != 0
    except OSError:
        return True


def _times_move(folder: Path) -> bool:
    """Whether reading a file shows in its times here."""
    trial = folder / "trial"
    try:
        trial.write_bytes(b"x")
        _forget_reads(trial)
        marked = not _was_read(trial)
        trial.read_bytes()
        return marked and _was_read(trial)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            trial.unlink()
