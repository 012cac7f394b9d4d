"""Opening stages, going on with the one of an earlier run, and removing what nobody needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.commits import FileKind
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.isolate import isolate, settle
from llmos_workers.kernel.projects import ProjectManager
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.scratch import Scratch
from llmos_workers.kernel.stage import COPY_LIMIT, Filler, Stage, load_stage, stage_name
from llmos_workers.kernel.tree import Entry
from llmos_workers.kernel.workspace import ProjectFolder, Workspace, make_folder

UNFINISHED_KEPT_S = 3_600.0
"""How long a folder that was never finished is left alone: someone may be at it."""

_TRIES = 5


class Stages:
    """The stages of all projects. ``copy_limit``: bytes one stage may copy, see kernel.isolate."""

    def __init__(
        self, workspace: Workspace, publisher: Publisher, *, copy_limit: int = COPY_LIMIT
    ) -> None:
        self._workspace, self._publisher, self._limit = workspace, publisher, copy_limit

    def open(self, project: str, goal_id: str, fence: int) -> Stage:
        """The stage of a run: its own when it has one, else one that goes on from the stage of
        an earlier run of the goal, else a new one.

        What an earlier run left is taken over whole, with what its last step had only half
        done (see Stage.resumed_from); its base stays the base, so that conflicts are seen. Costs
        a hard link per file of the project. Raises WorkspaceUnwritable, ToolError,
        SandboxUnavailable (no hard links here, and the project is too large to copy).
        """
        folder = self._workspace.project(project)
        root = folder.state / "stages" / stage_name(goal_id, fence)
        known = load_stage(folder, root)
        if known is not None:
            return known
        try:
            tree.remove_tree(root)
            stage = self._go_on(folder, goal_id, fence) or self._new(folder, goal_id, fence)
            settle(stage)
            stage.save()
        except (OSError, LLMOSError) as error:
            tree.remove_tree(root)
            if isinstance(error, OSError):
                raise paths.refuse(str(root), error, writing=True) from None
            raise
        return stage

    def scratch(
        self, project: str, goal_id: str, fence: int, label: str, *, like: Stage | None = None
    ) -> Scratch:
        """A copy of what is published now, or of what ``like`` holds, to try things in. Whoever
        asks for it discards it. Raises as ``open`` does.
        """
        folder = self._workspace.project(project)
        made = Scratch(folder, goal_id, fence, 0, {}, label=label)
        try:
            tree.remove_tree(made.root)
            _make_area(made)
            tree.walk(like.area if like else folder.output, _Linker(made, self._limit))
            settle(made)
        except (OSError, LLMOSError) as error:
            tree.remove_tree(made.root)
            if isinstance(error, OSError):
                raise paths.refuse(str(made.root), error, writing=True) from None
            raise
        return made

    def isolate(self, stage: Stage) -> None:
        """See kernel.isolate: to be called before a command works in the stage's area."""
        try:
            isolate(stage, limit=self._limit)
        except OSError as error:
            raise paths.refuse(str(stage.root), error, writing=True) from None

    def sweep(self, ended: Callable[[str], bool], *, now: float | None = None) -> int:
        """Remove stages whose goal has ``ended`` (by goal id; also one nobody knows), those that
        a later run has taken over, and unfinished ones older than an hour; how many.
        """
        at = time.time() if now is None else now
        removed = 0
        for folder in ProjectManager(self._workspace).list_projects():
            removed += self._sweep(folder, ended, at)
            removed += self._publisher.sweep(folder.name, now=at)
        return removed

    def _sweep(self, folder: ProjectFolder, ended: Callable[[str], bool], now: float) -> int:
        stages, unfinished = self._all(folder)
        newest: dict[str, int] = {}
        for stage in stages:
            newest[stage.goal_id] = max(stage.fence, newest.get(stage.goal_id, 0))
        old = [s for s in stages if s.fence < newest[s.goal_id] or ended(s.goal_id)]
        for stage in old:
            stage.discard()
        removed = len(old)
        for root in unfinished:
            with suppress(FileNotFoundError):
                if now - root.stat().st_mtime > UNFINISHED_KEPT_S:
                    tree.remove_tree(root)
                    removed += 1
        return removed

    def _all(self, folder: ProjectFolder) -> tuple[list[Stage], list[Path]]:
        stages, unfinished = [], []
        with suppress(FileNotFoundError):
            for root in sorted((folder.state / "stages").iterdir()):
                stage = load_stage(folder, root)
                if stage is None:
                    unfinished.append(root)
                else:
                    stages.append(stage)
        return stages, unfinished

    def _earlier(self, folder: ProjectFolder, goal_id: str, fence: int) -> Stage | None:
        """The newest finished stage of an earlier run of the goal."""
        before = stage_name(goal_id, 0).rpartition("-")[0] + "-"
        fences = []
        with suppress(FileNotFoundError):
            for name in os.listdir(folder.state / "stages"):  # noqa: PTH208
                number = name.removeprefix(before)
                if name != number and number.isdecimal() and int(number) < fence:
                    fences.append(int(number))
        for each in sorted(fences, reverse=True):
            stage = load_stage(folder, folder.state / "stages" / stage_name(goal_id, each))
            if stage is not None and stage.goal_id == goal_id:
                return stage
        return None

    def _go_on(self, folder: ProjectFolder, goal_id: str, fence: int) -> Stage | None:
        """A stage with the files of an earlier run's; None when there is none, or when what it
        held is published already.
        """
        earlier = self._earlier(folder, goal_id, fence)
        if earlier is None:
            return None
        if self._publisher.log.get(folder.name, stage_name(goal_id, earlier.fence)) is not None:
            self._publisher.recover(folder.name)
            earlier.discard()
            return None
        stage = self._take_over(earlier, fence)
        # Whoever discards a stage begins with this file: what we took then is not all of it.
        if not (earlier.root / "stage.json").exists():
            tree.remove_tree(stage.root)
            return None
        settle(stage)
        stage.save()
        earlier.discard()
        return stage

    def _new(self, folder: ProjectFolder, goal_id: str, fence: int) -> Stage:
        """A stage of the project as one commit left it: built anew when another one lands."""
        stage = Stage(folder, goal_id, fence, 0, {})
        self.fill(stage)
        return stage

    def fill(self, stage: Stage) -> None:
        """Make a new stage's area of its project as one commit left it. Raises as ``open``."""
        folder = stage.project
        before = self._publisher.settled(folder.name)
        for attempt in range(_TRIES + 1):
            stage.start, stage.copied = before.seq, 0
            stage.base.clear()
            stage.own.clear()
            _make_area(stage)
            tree.walk(folder.output, _Linker(stage, self._limit))
            stage.tainted = self._publisher.log.tainted(folder.name)
            after = self._publisher.log.state(folder.name)
            # After the last try it is a busy project. What landed meanwhile counts as later than
            # the start: a file that this run touches and it changed is a conflict.
            if after == before or attempt == _TRIES:
                return
            tree.remove_tree(stage.root)
            before = self._publisher.settled(folder.name)

    def _take_over(self, old: Stage, fence: int) -> Stage:
        """A new stage with the files and the base of an old one.

        The old run may still be alive somewhere, so its files are copied, not shared.
        """
        stage = Stage(old.project, old.goal_id, fence, old.start, dict(old.base))
        stage.resumed_from, stage.tainted = old.fence, old.tainted
        _make_area(stage)
        changed = {change.path for change in old.changes() if change.after is not None}
        tree.walk(old.area, _Heir(stage, changed, self._limit))
        return stage


def _make_area(stage: Stage) -> None:
    make_folder(stage.area)


class _Linker:
    """Visits a project's files and links them into a stage's area."""

    def __init__(self, stage: Stage, limit: int) -> None:
        self.stage, self.filler = stage, Filler(stage, limit)

    def __call__(self, folder: int, name: str, path: str, entry: Entry) -> None:
        with tree.parent(self.stage.area, path) as (target, _):
            if entry.kind is FileKind.FILE:
                self.filler.link(folder, name, target, path)
                return
            self.stage.base[path] = entry
            make_plain(entry, name, target)


class _Heir:
    """Visits an old stage's files and brings them into a new one."""

    def __init__(self, stage: Stage, changed: set[str], limit: int) -> None:
        self.stage, self.changed, self.filler = stage, changed, Filler(stage, limit)

    def __call__(self, folder: int, name: str, path: str, entry: Entry) -> None:
        stage = self.stage
        with tree.parent(stage.area, path) as (target, _):
            if entry.kind is not FileKind.FILE:
                make_plain(entry, name, target)
            elif path in self.changed or path not in stage.base:
                self.filler.copy(folder, name, target, path, unchanged=False)
            elif stage.base[path].same(tree.look(stage.project.output, path)):
                with tree.parent(stage.project.output, path) as (published, _):
                    self.filler.link(published, name, target, path)
            else:
                self.filler.copy(folder, name, target, path)


def make_plain(entry: Entry, name: str, target: int) -> None:
    """Make a folder or a link like ``entry`` in the open folder ``target``."""
    if entry.kind is FileKind.LINK:
        os.symlink(entry.target, name, dir_fd=target)
    else:
        os.mkdir(name, entry.mode | 0o700, dir_fd=target)
