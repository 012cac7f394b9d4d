"""Session logs (L2): ``memories/sessions/<project>/<goal_id>.md``, rotated by age and size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.errors import MalformedFile, NotThere, ToolError
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.memory import Session
from llmos_workers.kernel import paths
from llmos_workers.kernel.workspace import Workspace, make_folder, read_inside
from llmos_workers.learning.session_file import parse_session, render_session

log = logging.getLogger(__name__)

MAX_BYTES = 262_144
"""Longest session that is read; llmos writes shorter ones."""
SUFFIX = ".md"


@dataclass(frozen=True)
class _Kept:
    path: Path
    at: float
    size: int


class Sessions:
    """The files. Written by upkeep; people may read, edit and remove them."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / "memories" / "sessions"

    def write(self, session: Session) -> None:
        """Keep a session; one of the same goal is replaced. Raises WorkspaceUnwritable."""
        folder = self._folder(session.project)
        make_folder(folder)
        # A copy of what Redis has: not worth waiting for the disk.
        data = render_session(session).encode()
        paths.write_inside(folder, f"{session.goal_id}{SUFFIX}", data, sync=False)

    def has(self, project: str, goal_id: str) -> bool:
        """Whether the goal's session is there."""
        return (self._folder(project) / f"{goal_id}{SUFFIX}").exists()

    def get(self, project: str, goal_id: str) -> Session:
        """One session. Raises NotThere, MalformedFile."""
        name = f"{project}/{goal_id}{SUFFIX}"
        try:
            text = read_inside(self._root, name, limit=MAX_BYTES).decode("utf-8", "replace")
        except ToolError:
            raise NotThere(
                f"there is no session of goal {goal_id!r:.80} in project {project}.",
                fix="See: llmos memory search --level sessions.",
            ) from None
        return parse_session(text, name)

    def newest(self, project: str, *, limit: int) -> list[Session]:
        """The newest sessions, newest first; those that cannot be read are left out."""
        found = []
        for kept in self._kept(project)[:limit]:
            try:
                found.append(self.get(project, kept.path.stem))
            except (NotThere, MalformedFile) as error:
                log.warning("a session is left out: %s", error)
        return found

    def projects(self) -> list[str]:
        """Projects that have sessions."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if path.is_dir())

    def remove(self, project: str, goal_id: str) -> bool:
        """Remove one; whether it was there."""
        path = self._folder(project) / f"{goal_id}{SUFFIX}"
        there = path.exists()
        path.unlink(missing_ok=True)
        return there

    def rotate(self, *, now: float, days: int, megabytes: float) -> int:
        """Remove what is older than ``days`` at ``now`` (Unix s), and of each project the oldest
        beyond ``megabytes``; how many.
        """
        return sum(self._rotate(project, now, days, megabytes) for project in self.projects())

    def _rotate(self, project: str, now: float, days: int, megabytes: float) -> int:
        gone, size = 0, 0
        for kept in self._kept(project):
            size += kept.size
            if size > megabytes * 1e6 or now - kept.at > days * 86_400:
                with suppress(FileNotFoundError):
                    kept.path.unlink()
                    gone += 1
        return gone

    def _kept(self, project: str) -> list[_Kept]:
        """The project's files, newest first."""
        return sorted(self._files(project), key=lambda kept: (-kept.at, kept.path.name))

    def _files(self, project: str) -> Iterator[_Kept]:
        folder = self._folder(project)
        for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
            with suppress(FileNotFoundError):
                facts = path.stat()
                yield _Kept(path, facts.st_mtime, facts.st_size)

    def _folder(self, project: str) -> Path:
        return self._root / check_project_name(project)
