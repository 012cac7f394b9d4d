"""Taking back what a goal published, as a commit of its own."""

from __future__ import annotations

import secrets
from pathlib import Path

from llmos_workers.contracts.commits import Commit, CommitFacts, CommittedFile, FileKind
from llmos_workers.contracts.errors import (
    DataError,
    InvalidOption,
    LLMOSError,
    PublishConflict,
)
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.commits import AlreadyUndone
from llmos_workers.kernel.draft import Draft
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.tainted import tainted
from llmos_workers.kernel.workspace import ProjectFolder, Workspace


class Undoer:
    """Takes commits back. Needs the workspace on this machine."""

    def __init__(self, workspace: Workspace, publisher: Publisher, clock: Clock) -> None:
        self._workspace, self._publisher, self._clock = workspace, publisher, clock

    def undo(self, project: str, goal_id: str, *, approver: str = "") -> list[Commit]:
        """Take back all that a goal published, newest first; the commits that do it.

        ``approver``: who wants it. Raises InvalidOption when there is nothing to take back,
        PublishConflict naming the files that are not as the goal left them (nothing is done
        then), DataError for contents that are no longer kept, WorkspaceUnwritable.
        """
        self._publisher.recover(project)
        commits = self._publisher.log.of_goal(project, goal_id)
        if not commits:
            raise InvalidOption(
                f"goal {goal_id} has published nothing in project {project} that could be undone.",
                fix=f"See what it did: llmos status {goal_id}",
            )
        start = self._publisher.log.state(project).seq
        self._check(project, commits)
        undone: list[Commit] = []
        for commit in commits:
            undone.append(self._undo(project, commit, approver, start))
            start = undone[-1].seq
        return undone

    def _check(self, project: str, commits: list[Commit]) -> None:
        """Refuse before anything is done. Of a path that several commits wrote, the newest one's
        state has to stand there.
        """
        output, changed, seen = self._workspace.peek(project).output, [], set()
        for commit in commits:
            for file in commit.files:
                if file.path not in seen and not _as_left(output, file):
                    changed.append(file.path)
                seen.add(file.path)
        if changed:
            others = self._publisher.log.since(project, commits[-1].seq, changed)
            raise _not_as_left(commits[0].goal_id, changed, others)

    def _undo(self, project: str, commit: Commit, approver: str, start: int) -> Commit:
        folder = self._workspace.peek(project)
        commit_id = f"{commit.commit_id}-undo-{secrets.token_hex(4)}"
        known = self._publisher.log.tainted(project)
        turned = (
            CommittedFile(path=file.path, before=file.after, after=file.before)
            for file in commit.files
        )
        files = tainted(turned, known, CommitFacts())
        back = Commit(
            commit_id=commit_id,
            project=project,
            goal_id=commit.goal_id,
            at=self._clock.now(),
            mode=commit.mode,
            trace_id=commit.trace_id,
            trace_version=commit.trace_version,
            approver=approver,
            undoes=commit.commit_id,
            files=files,
        )
        try:
            draft = self._publisher.draft(folder, commit_id)
            inodes = self._prepare(draft, folder, files)
        except OSError as error:
            raise paths.refuse(str(folder.state), error, writing=True) from None
        try:
            return self._publisher.log_and_finish(draft, back, inodes, lease=None, start=start)
        except AlreadyUndone:
            raise InvalidOption(f"goal {commit.goal_id} is undone already.") from None
        except PublishConflict as error:
            raise _not_as_left(commit.goal_id, list(error.files), error.others) from None

    def _prepare(
        self, draft: Draft, folder: ProjectFolder, files: tuple[CommittedFile, ...]
    ) -> dict[str, int]:
        """Put what was there before into the draft; inodes of what is there now."""
        inodes, objects = {}, self._publisher.objects(folder)
        try:
            for number, file in enumerate(files):
                if entry := tree.look(folder.output, file.path):
                    inodes[file.path] = entry.ino
                    if entry.kind is FileKind.FILE and file.before is not None:
                        with tree.parent(folder.output, file.path) as (at, name):
                            objects.keep(file.before.digest, at, name)
                if file.after is None or file.after.kind is FileKind.FOLDER:
                    continue
                if file.after.kind is FileKind.LINK:
                    draft.put_link(number, file.after.target)
                    continue
                if not objects.fetch(file.after.digest, draft.root / str(number)):
                    raise DataError(
                        f"the former content of {file.path!r} is no longer kept.",
                        fix="Take it from a backup.",
                    )
                draft.seal(number, file.after.mode)
        except (OSError, LLMOSError):
            draft.remove()
            raise
        return inodes


def _as_left(output: Path, file: CommittedFile) -> bool:
    """Whether a path stands as a commit left it."""
    now = tree.state_at(output, file.path)
    if file.after is None:
        removed_folder = file.before is not None and file.before.kind is FileKind.FOLDER
        return now is None or (removed_folder and now.kind is FileKind.FOLDER)
    if now is None:
        return False
    if file.after.kind is FileKind.FOLDER:
        return now.kind is FileKind.FOLDER
    return now == file.after


def _not_as_left(goal_id: str, files: list[str], others: tuple[str, ...]) -> PublishConflict:
    shown = ", ".join(files[:10]) + (f" and {len(files) - 10:,} more" if len(files) > 10 else "")
    who = f" (goal {', '.join(others[:5])})" if others else ""
    return PublishConflict(
        f"nothing was undone: {shown} changed since goal {goal_id} left it{who}.",
        files=tuple(files),
        others=others,
        fix="Undo the later goals first, or mend the files by hand.",
    )
