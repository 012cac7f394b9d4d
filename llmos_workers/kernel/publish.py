"""Publishing a stage: all of a run's changes at once, under its fence, or nothing.

    1. the changes are compared with what is published now: conflicts end it here
    2. a draft with all new files is made beside the project (see kernel.draft)
    3. one script checks the fence and the paths again, and logs the commit: from now on it counts
    4. the files are moved to their places, one rename each
    5. the commit is marked done, the draft removed

A crash before 3 leaves the project as it was; after it, whoever comes next does the rest: every
publish, every opened stage and ``recover`` first move in what is pending. Nobody waits for the
one who began. A reader sees each file whole, old or new.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.commits import Commit, CommitFacts, CommittedFile, FileKind, Writer
from llmos_workers.contracts.errors import (
    DataError,
    LLMOSError,
    PublishConflict,
    ToolError,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.commit_lines import append_line
from llmos_workers.kernel.commits import (
    AlreadyUndone,
    CommitLog,
    CommitPending,
    LogState,
    conflict,
)
from llmos_workers.kernel.draft import Draft, nothing
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.objects import KeepLimits, Objects
from llmos_workers.kernel.stage import Change, Stage, stage_name
from llmos_workers.kernel.tainted import marks, tainted
from llmos_workers.kernel.workspace import ProjectFolder, Workspace, make_folder

logger = logging.getLogger(__name__)

ABANDONED_AFTER_S = 86_400.0
"""Age in seconds from which a draft that was never logged is debris."""

_TRIES = 1_000


class Publisher:
    """Publishes stages. ``reached`` is told each point that a publish comes to (for tests)."""

    def __init__(
        self,
        workspace: Workspace,
        log: CommitLog,
        clock: Clock,
        *,
        keep: KeepLimits | None = None,
        reached: Callable[[str], None] = nothing,
    ) -> None:
        self.log = log
        self._workspace, self._clock = workspace, clock
        self._keep, self.reached = keep or KeepLimits(), reached

    def publish(
        self,
        stage: Stage,
        *,
        lease: Lease,
        facts: CommitFacts | None = None,
        reads: Iterable[FileDigest] = (),
    ) -> Commit | None:
        """Publish a stage; the commit, or None when it changed nothing. Again: the same commit.

        ``reads``: files that the run's result depends on, as it read them. The stage is gone
        afterwards, unless an error says that nothing was published. Raises PublishConflict (a
        file that the run changed, removed or read was changed since the stage was opened, to
        something else than the run made of it),
        LeaseLost, Cancelled: nothing is published then. Raises ToolError for files that cannot
        be published, WorkspaceUnwritable (the commit may be logged: it is then finished by
        whoever comes next).
        """
        project, commit_id = stage.project, stage_name(stage.goal_id, stage.fence)
        if (known := self.log.get(project.name, commit_id)) is not None:
            self.recover(project.name)
            stage.discard()
            return known
        with _file_errors(project):
            changes = [each for each in stage.changes() if not _agreed(stage, each)]
            if not changes:
                stage.discard()
                return None
            also = self._check(stage, changes, reads)
            draft = self.draft(project, commit_id)
            inodes = {c.path: c.before.ino for c in changes if c.before is not None}
            try:
                found = [self._prepare(draft, n, stage, each) for n, each in enumerate(changes)]
            except (OSError, LLMOSError):
                draft.remove()
                raise
        known_facts = facts or CommitFacts()
        commit = Commit(
            commit_id=commit_id,
            project=project.name,
            goal_id=stage.goal_id,
            fence=stage.fence,
            at=self._clock.now(),
            files=tainted(
                (_with_writer(file, known_facts) for file in found), stage.tainted, known_facts
            ),
            **known_facts.model_dump(exclude={"writers", "tainted", "commands"}),
        )
        done = self.log_and_finish(draft, commit, inodes, lease=lease, start=stage.start, also=also)
        # Its files are other names of published ones: no command may work in it any more.
        stage.discard()
        return done

    def log_and_finish(
        self,
        draft: Draft,
        commit: Commit,
        inodes: dict[str, int],
        *,
        lease: Lease | None,
        start: int,
        also: Iterable[str] = (),
    ) -> Commit:
        """The second half of a publish: from a prepared draft to the done commit.

        ``also``: further paths that no commit after ``start`` may have changed.
        """
        self.reached("drafted")
        try:
            with _file_errors(draft.output):
                draft.write_plan(commit, inodes)
            self.reached("planned")
            seq = self._intend(commit, lease, start, also)
        except (LLMOSError, AlreadyUndone):
            # Not for a lost connection: then nobody knows whether it was logged.
            draft.remove()
            raise
        self.reached("logged")
        self._finish(commit.project, commit.commit_id)
        return commit.model_copy(update={"seq": seq})

    def _intend(self, commit: Commit, lease: Lease | None, start: int, also: Iterable[str]) -> int:
        checks, sets = _checked(commit.files), _set(commit.files)
        for _ in range(_TRIES):
            try:
                return self.log.intend(
                    commit,
                    lease=lease,
                    start=start,
                    checks=[*checks, *also],
                    sets=sets,
                    taints=marks(commit),
                )
            except CommitPending:
                self.recover(commit.project)
        raise PublishConflict(
            f"project {commit.project} is being changed all the time; nothing was published.",
            files=tuple(file.path for file in commit.files),
        )

    def recover(self, project: str) -> bool:
        """Move in what a crashed publish left pending; whether there was something.

        Raises DataError when its draft is not in this workspace, WorkspaceUnwritable.
        """
        pending = self.log.state(project).pending
        if pending:
            self._finish(project, pending)
        return bool(pending)

    def settled(self, project: str) -> LogState:
        """Where the project's log stands, after ``recover``. Raises as that does."""
        state = self.log.state(project)
        if not state.pending:
            return state
        self._finish(project, state.pending)
        return self.log.state(project)

    def sweep(self, project: str, *, now: float | None = None) -> int:
        """Finish what is pending, remove drafts that nobody will need and old kept contents;
        how many drafts. For upkeep.
        """
        at = time.time() if now is None else now
        folder = self._workspace.peek(project)
        self._recover_or_give_up(project, at)
        removed = 0
        with suppress(FileNotFoundError):
            for root in (folder.state / "commits").iterdir():
                old = at - root.stat().st_mtime > ABANDONED_AFTER_S
                logged = self.log.get(project, root.name) is not None
                # Asked last: what is logged and no longer pending then is done.
                if (old or logged) and self.log.state(project).pending != root.name:
                    tree.remove_tree(root)
                    removed += 1
        Objects(folder.state / "objects").prune(self._keep, now=at)
        return removed

    def _recover_or_give_up(self, project: str, now: float) -> None:
        try:
            self.recover(project)
        except DataError as error:
            pending = self.log.state(project).pending
            commit = self.log.get(project, pending) if pending else None
            if commit is not None and now - commit.at > ABANDONED_AFTER_S:
                logger.warning("commit %s of %s is given up: %s", pending, project, error)
                self.log.lost(project, pending)

    # -- inside ------------------------------------------------------------------------------

    def draft(self, folder: ProjectFolder, commit_id: str) -> Draft:
        """An empty draft. Raises OSError, WorkspaceUnwritable."""
        root = folder.state / "commits" / commit_id
        tree.remove_tree(root)
        make_folder(root)
        if root.stat().st_dev != folder.output.stat().st_dev:
            raise WorkspaceUnwritable(
                f"{folder.output} lies on another file system than {folder.state}; files cannot be "
                "published from one to the other.",
                fix="Keep a project's folders on one file system.",
            )
        return Draft(root, folder.output)

    def objects(self, folder: ProjectFolder) -> Objects:
        """The kept contents of a project."""
        return Objects(folder.state / "objects")

    def _check(
        self, stage: Stage, changes: Sequence[Change], reads: Iterable[FileDigest]
    ) -> list[str]:
        """Compare with what is published now; the read paths that have to be checked again when
        the commit is logged. Raises PublishConflict.
        """
        output, changed = stage.project.output, {change.path for change in changes}
        moved = [change.path for change in changes if not _undisturbed(output, change)]
        depended = []
        for read in reads:
            path = _resolved(stage, read.path)
            if path in changed:
                continue
            before, now = stage.base.get(path), tree.look(output, path)
            if before is now is None or (before is not None and before.same(now)):
                depended.append(path)
                continue
            state = tree.state_at(output, path)
            if (state.digest if state else None) != read.digest:
                moved.append(path)
        if moved:
            raise conflict(moved, self.log.since(stage.project.name, stage.start, moved))
        return depended

    def _prepare(self, draft: Draft, number: int, stage: Stage, change: Change) -> CommittedFile:
        """Put one change into the draft, and keep what it replaces."""
        before = after = None
        if change.before is not None:
            digest = ""
            if change.before.kind is FileKind.FILE:
                with tree.parent(stage.project.output, change.path) as (folder, name):
                    digest = tree.digest_at(folder, name)
                    self.objects(stage.project).keep(digest, folder, name)
            before = tree.state_of(change.before, digest)
        if change.after is not None:
            after = tree.state_of(change.after, "")
            if change.after.kind is FileKind.LINK:
                draft.put_link(number, change.after.target)
            elif change.after.kind is FileKind.FILE:
                with tree.parent(stage.area, change.path) as (folder, name):
                    after = draft.put_file(number, folder, name, change.after.mode)
        return CommittedFile(path=change.path, before=before, after=after)

    def _finish(self, project: str, commit_id: str) -> None:
        """Move a logged commit's files in and mark it done. Safe to do twice, or at once."""
        folder = self._workspace.peek(project)
        draft = Draft(folder.state / "commits" / commit_id, folder.output)
        with _file_errors(folder):
            try:
                commit, inodes = draft.read_plan()
            except FileNotFoundError:
                if self.log.state(project).pending != commit_id:
                    return  # somebody else has just finished it
                raise DataError(
                    f"commit {commit_id} of project {project} is logged, but its files are not in "
                    f"{draft.root}.",
                    fix="Is this the workspace that all workers share?",
                ) from None
            draft.move_in(commit, inodes, self.reached)
            self.reached("moved in")
            append_line(folder.state, commit)
            self.reached("written down")
            self.log.done(project, commit_id)
            self.reached("done")
            draft.remove()


def _undisturbed(output: Path, change: Change) -> bool:
    """Whether the published path still is as the stage found it."""
    now = tree.look(output, change.path)
    kinds = {each.kind for each in (change.before, change.after) if each is not None}
    if kinds == {FileKind.FOLDER}:
        return now is None or now.kind is FileKind.FOLDER
    return now is None if change.before is None else change.before.same(now)


def _agreed(stage: Stage, change: Change) -> bool:
    """Whether somebody else has meanwhile published just what this change would make."""
    output = stage.project.output
    now, after = tree.look(output, change.path), change.after
    if now is not None and after is not None and now.kind is after.kind is FileKind.FOLDER:
        return change.before is None
    if _undisturbed(output, change):
        return False
    if now is None or after is None:
        return now is after
    if now.kind is not after.kind:
        return False
    if now.kind is FileKind.LINK:
        return now.target == after.target
    mine = tree.state_at(stage.area, change.path)
    return mine is not None and mine == tree.state_at(output, change.path)


def _resolved(stage: Stage, path: str) -> str:
    """A path as it was read, without symlinks on its way."""
    try:
        with paths.inside(stage.area, path) as (_, _, resolved):
            return resolved
    except ToolError:
        return paths.plain(path)


def _with_writer(file: CommittedFile, facts: CommitFacts) -> CommittedFile:
    writer = facts.writers.get(file.path, Writer())
    return file.model_copy(update=writer.model_dump())


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _is_folder(file: CommittedFile) -> bool:
    """Whether only a folder was made or removed."""
    kinds = {state.kind for state in (file.before, file.after) if state is not None}
    return kinds == {FileKind.FOLDER}


def _checked(files: Iterable[CommittedFile]) -> set[str]:
    """Paths on whose being changed by others the changes depend."""
    found: set[str] = set()
    for file in files:
        found.add(file.path)
        if file.after is not None:
            found.update(_above(file.path))
            if not _is_folder(file):
                found.add(f"{file.path}/")
    return found


def _set(files: Iterable[CommittedFile]) -> set[str]:
    """Paths that others have to know of."""
    found: set[str] = set()
    for file in files:
        if not _is_folder(file):
            found.add(file.path)
        if file.after is not None:
            found.update(f"{above}/" for above in _above(file.path))
            if file.after.kind is FileKind.FOLDER:
                found.add(f"{file.path}/")
    return found


class _file_errors:  # noqa: N801 - used as a function in a with statement
    """Words for what the operating system refuses while a project's files are written."""

    def __init__(self, where: ProjectFolder | Path) -> None:
        self.where = where.output if isinstance(where, ProjectFolder) else where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            where = os.fsdecode(error.filename) if error.filename else str(self.where)
            raise paths.refuse(where, error, writing=True) from error
