"""A run's own stage of a project's files: all of the project to see, nothing of it to harm.

``projects/<project>/state/stages/<goal>-<fence>/``

    area/        what tools work in: it looks as the output folder did when the stage was opened
    stage.json   what stood there then

The area starts as folders of its own with a second name (hard link) for each published file: no
content is copied, whatever the size. Our tools never write into a file, they replace it, and a
replaced file is no longer the published one. Commands may write into files, so before the first
one the links are cut (see kernel.isolate). An overlay mount would do without that, but needs
rights that containers lack, leaves mounts behind a killed worker, and is undefined once another
goal publishes underneath it.

A person who edits a published file in place meanwhile changes it in the stage as well, as long
as it is linked; the run's own change of that file then is a conflict.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from llmos_workers.contracts.commits import FileKind
from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.kernel import tree
from llmos_workers.kernel.clone import clone, copy
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX
from llmos_workers.kernel.tainted import TaintedFiles
from llmos_workers.kernel.tree import Entry
from llmos_workers.kernel.workspace import ProjectFolder

COPY_LIMIT = 256 << 20
"""Bytes that one stage copies where the file system cannot share blocks."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_UNLINKABLE = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EACCES)
_FORMAT = 2


@dataclass(frozen=True)
class Change:
    """What a run did to one path. ``before`` None: it made it; ``after`` None: it removed it."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass
class Stage:
    """A run's stage. Only the run that holds the goal's lease works in it."""

    project: ProjectFolder
    goal_id: str
    fence: int
    start: int
    """Number of the project's newest commit when the stage was opened."""
    base: dict[str, Entry]
    """What stood in the output folder then."""
    own: dict[str, Entry] = field(default_factory=dict)
    """Files of the base that are copies of the stage's own by now, as they were copied."""
    settled_ns: int = 0
    """Copies whose change time is older than this cannot have been written to since without
    its showing."""
    digests: dict[str, str] = field(default_factory=dict)
    """Contents of the copies that are younger."""
    copied: int = 0
    """Bytes copied so far."""
    read_only: tuple[str, ...] = ()
    """Files that commands may replace and remove, but not write into: too large to copy."""
    resumed_from: int | None = None
    """Fence of the earlier run whose files this stage goes on with; None: from what is
    published."""
    isolated: bool = False
    """Whether commands may work in the area."""
    tainted: TaintedFiles = field(default_factory=TaintedFiles)
    """What of the base holds what others wrote."""

    @property
    def root(self) -> Path:
        """The stage's folder."""
        return self.project.state / "stages" / stage_name(self.goal_id, self.fence)

    @property
    def area(self) -> Path:
        """The folder that tools work in."""
        return self.root / "area"

    def changes(self) -> list[Change]:
        """What the run did so far, by path. Reads only what may have changed.

        Raises ToolError for file names that are no text, or folders too deep.
        """
        now = tree.scan(self.area)
        found = []
        for path in sorted(self.base.keys() | now.keys()):
            before, after = self.base.get(path), now.get(path)
            if not self._same(path, before, after):
                found.append(Change(path, before, after))
        return found

    def _same(self, path: str, before: Entry | None, after: Entry | None) -> bool:
        if before is None or after is None or before.kind is not after.kind:
            return False
        if before.kind is not FileKind.FILE:
            return before.same(after)
        if before.same(after):
            return True
        own = self.own.get(path)
        if own and own.same(after) and (own.ctime_ns, own.mode) == (after.ctime_ns, after.mode):
            return own.ctime_ns < self.settled_ns or self._digest(path) == self.digests.get(path)
        if after.ino == before.ino and (published := self._published(path)):
            # Written in place by a person, through the published name; the number of a file
            # that is gone may also be given to another.
            return published.ino == after.ino
        return self._marked(path, after) or self._same_content(path, before, after)

    def _marked(self, path: str, after: Entry) -> bool:
        """Whether a copy has another change time only as it was marked to see who reads it."""
        own, taint = self.own.get(path), self.tainted.paths.get(path)
        if own is None or taint is None or not own.same(after) or own.mode != after.mode:
            return False
        return taint.digest == self._digest(path)

    def _digest(self, path: str) -> str:
        state = tree.state_at(self.area, path)
        return state.digest if state else ""

    def _published(self, path: str) -> Entry | None:
        return tree.look(self.project.output, path)

    def _same_content(self, path: str, before: Entry, after: Entry) -> bool:
        """By content, as far as the base's content is still there to compare with."""
        if before.size != after.size or before.mode != after.mode:
            return False
        if not before.same(self._published(path)):
            return False
        mine = tree.state_at(self.area, path)
        return mine is not None and mine == tree.state_at(self.project.output, path)

    def sync(self, files: Iterable[str]) -> None:
        """Bring these files of the area to the disk, as far as they are there. Raises OSError."""
        for path in files:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                tree.parent(self.area, path) as (folder, name),
            ):
                tree.sync_at(folder, name)

    def save(self) -> None:
        """Write down what another process needs to go on with this stage."""
        facts: dict[str, Any] = {
            "format": _FORMAT,
            "goal_id": self.goal_id,
            "fence": self.fence,
            "start": self.start,
            "settled_ns": self.settled_ns,
            "digests": self.digests,
            "copied": self.copied,
            "isolated": self.isolated,
            "resumed_from": self.resumed_from,
            "read_only": self.read_only,
            "tainted": self.tainted.dump(),
            "base": {path: astuple(entry) for path, entry in self.base.items()},
            "own": {path: astuple(entry) for path, entry in self.own.items()},
        }
        new = self.root / f"stage.json{TEMPORARY_SUFFIX}"
        new.write_text(json.dumps(facts), encoding="utf-8")
        new.rename(self.root / "stage.json")

    def discard(self) -> None:
        """Remove the stage and all in it; nothing happens when it is gone.

        A run that lost its lease leaves its stage alone: the next run goes on with it.
        """
        # First: a stage without it is nothing that anybody goes on with.
        with suppress(FileNotFoundError):
            (self.root / "stage.json").unlink()
        tree.remove_tree(self.root)


def load_stage(project: ProjectFolder, root: Path) -> Stage | None:
    """The stage in a folder; None when it was never finished or cannot be read."""
    try:
        facts = json.loads((root / "stage.json").read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT:
            return None
        return Stage(
            project,
            facts["goal_id"],
            facts["fence"],
            facts["start"],
            base=_entries(facts["base"]),
            own=_entries(facts["own"]),
            settled_ns=facts["settled_ns"],
            digests=facts["digests"],
            copied=facts["copied"],
            read_only=tuple(facts["read_only"]),
            isolated=facts["isolated"],
            resumed_from=facts["resumed_from"],
            tainted=TaintedFiles.read(facts["tainted"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entries(stored: dict[str, list[Any]]) -> dict[str, Entry]:
    return {path: Entry(FileKind(facts[0]), *facts[1:]) for path, facts in stored.items()}


def stage_name(goal_id: str, fence: int) -> str:
    """Name of a stage's folder; ids that plain apps chose may hold anything."""
    safe = (
        goal_id if _SAFE_NAME.fullmatch(goal_id) else hashlib.sha256(goal_id.encode()).hexdigest()
    )
    return f"{safe}-{fence}"


class Filler:
    """Brings files into an area. ``limit``: bytes it may copy."""

    def __init__(self, stage: Stage, limit: int) -> None:
        self._stage, self._limit = stage, limit

    def link(self, source: int, name: str, target: int, path: str) -> None:
        """Give a file of the open folder ``source`` a second name, or copy it.

        A link is safe from our own tools only. Raises SandboxUnavailable past the limit.
        """
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            return  # removed meanwhile: whoever did it has committed, and the caller will see
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
            self.copy(source, name, target, path)
            return
        if entry := tree.entry_at(target, name):
            self._stage.base[path] = entry

    def copy(
        self, source: int, name: str, target: int, path: str, *, unchanged: bool = True
    ) -> None:
        """Copy a file with mode and times, sharing blocks where possible.

        ``unchanged``: it is the base's content. Raises SandboxUnavailable past the limit.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(name, flags, dir_fd=source)
        try:
            facts = os.fstat(fd)
            if (
                unchanged
                and path not in self._stage.base
                and (entry := tree.entry_at(source, name))
            ):
                self._stage.base[path] = entry
            self._copy(fd, facts, name, target, path)
        finally:
            os.close(fd)
        if unchanged and (copied := tree.entry_at(target, name)):
            self._stage.own[path] = copied

    def _copy(self, fd: int, facts: os.stat_result, name: str, target: int, path: str) -> None:
        temporary = f"copy{TEMPORARY_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=target)
        new = os.open(temporary, flags, 0o600, dir_fd=target)
        try:
            if not clone(fd, new):
                self._charge(facts.st_size, path)
                copy(fd, new)
            owner = os.fstat(target)
            if os.geteuid() == 0 and owner.st_uid != 0:
                os.fchown(new, owner.st_uid, owner.st_gid)
            os.fchmod(new, facts.st_mode & 0o777)
            os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            os.rename(temporary, name, src_dir_fd=target, dst_dir_fd=target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=target)
            raise
        finally:
            os.close(new)

    def _charge(self, size: int, path: str) -> None:
        if self._stage.copied + size > self._limit:
            raise too_large(path, self._limit)
        self._stage.copied += size


def too_large(path: str, limit: int) -> SandboxUnavailable:
    """The error for a file that would have to be copied and is too large for it."""
    return SandboxUnavailable(
        f"commands could change the published {path!r}, and copying it would take more than "
        f"{limit >> 20:,} MB on this file system.",
        fix="Put the workspace on XFS or btrfs, run workers as root, or raise the limit.",
    )
