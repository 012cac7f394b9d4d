"""Cutting an area off from the published files before commands may work in it.

A command may write into a file, truncate it, change its mode: through a hard link that would
change what is published. So each file that is still linked becomes the stage's own: with shared
blocks where the file system has them (XFS, btrfs), else by copying, the small ones first, as
far as the limit goes. What is larger stays linked only where the kernel itself keeps commands
from writing to it: they run as a user (the area's owner) that neither owns the file nor may
write it. They can still read, replace, rename and remove it, which touches its name in the
area alone. Where that cannot be had, commands are refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from llmos_workers.contracts.commits import FileKind
from llmos_workers.kernel import tree
from llmos_workers.kernel.clone import clone
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX
from llmos_workers.kernel.stage import COPY_LIMIT, Filler, Stage, too_large
from llmos_workers.kernel.tree import Entry

TICK_NS = 20_000_000
"""File times are not finer than this, in nanoseconds, on any kernel we know."""


def isolate(stage: Stage, *, limit: int = COPY_LIMIT) -> None:
    """Make the area safe for commands; nothing happens the second time.

    Who commands run as must be settled before: it is the area's owner, as far as the worker is
    root and the area is not root's. Raises SandboxUnavailable.
    """
    if stage.isolated:
        return
    if linked := _still_linked(stage):
        plan = _plan(stage, linked, limit)
        filler = Filler(stage, limit)
        for path in plan.copied:
            with tree.parent(stage.area, path) as (folder, name):
                filler.copy(folder, name, folder, path)
        stage.read_only = plan.kept
        settle(stage)
        stage.save()
    stage.isolated = True


def settle(stage: Stage) -> None:
    """Make sure that any change of the stage's own copies will show.

    A file's times tell a change only when it comes at least a tick after the copying; of copies
    that are younger the content is noted.
    """
    newest = max((entry.ctime_ns for entry in stage.own.values()), default=0)
    stage.settled_ns = newest - TICK_NS
    for path, entry in stage.own.items():
        if entry.ctime_ns >= stage.settled_ns and (state := tree.state_at(stage.area, path)):
            stage.digests[path] = state.digest


@dataclass(frozen=True)
class _Plan:
    copied: tuple[str, ...]
    kept: tuple[str, ...]


def _still_linked(stage: Stage) -> dict[str, Entry]:
    """Files of the area that are the published ones, smallest first."""
    now = tree.scan(stage.area)
    found = {
        path: entry
        for path, entry in now.items()
        if entry.kind is FileKind.FILE
        and path not in stage.own
        and path in stage.base
        and stage.base[path].ino == entry.ino
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].size, item[0])))


def _plan(stage: Stage, linked: dict[str, Entry], limit: int) -> _Plan:
    """Which files to copy and which to keep linked. Raises SandboxUnavailable."""
    if _shares_blocks(stage, linked):
        return _Plan(tuple(linked), ())
    room, copied, kept = limit - stage.copied, [], []
    for path, entry in linked.items():
        if entry.size <= room:
            room -= entry.size
            copied.append(path)
        elif _protected(stage, entry):
            kept.append(path)
        else:
            raise too_large(path, limit)
    return _Plan(tuple(copied), tuple(kept))


def _shares_blocks(stage: Stage, linked: dict[str, Entry]) -> bool:
    """Whether the file system can clone, tried on a file that has blocks."""
    largest = next(reversed(linked), None)
    if largest is None:
        return False
    trial = stage.root / f"trial{TEMPORARY_SUFFIX}"
    source = os.open(stage.area / largest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with trial.open("wb") as target:
            return clone(source, target.fileno())
    finally:
        os.close(source)
        trial.unlink()


def _protected(stage: Stage, entry: Entry) -> bool:
    """Whether commands, as the area's owner, cannot write the file or change its mode."""
    owner = stage.area.stat()
    other = os.geteuid() == 0 and owner.st_uid != 0
    return other and entry.uid != owner.st_uid and entry.gid != owner.st_gid and not entry.mode & 2
