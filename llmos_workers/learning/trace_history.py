"""What traces were before: each version that was replaced, and each content that a hand edit
replaced, as the Markdown file it was.

``memories/traces/<project>/history/<trace_id>/<version>-<revision>.md``. No scan reads these
files; they are for people, for ``llmos traces diff``, and for going back.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.errors import MalformedFile, WorkspaceUnwritable
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.trace_file import from_markdown, to_markdown
from llmos_workers.learning.trace_folder import TRACE_ID, TraceFolder

FOLDER = "history"
KEPT = 20
"""Old contents kept of one trace; the oldest go first."""

_NAME = re.compile(r"(\d{1,9})-(\d{1,12})\.md")


@dataclass(frozen=True, order=True, slots=True)
class OldVersion:
    """One content that a trace had."""

    version: int
    revision: int
    path: str
    """Of its file, relative to the workspace."""


class TraceHistory:
    """Old contents of traces. Thread-safe; what two write at once is the same."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._files = workspace, TraceFolder(workspace)

    def keep(self, trace: ExecutionTrace) -> None:
        """Put a content aside that is about to be replaced. Raises WorkspaceUnwritable."""
        folder = self._folder(trace.project, trace.trace_id)
        name = f"{trace.version:04d}-{trace.revision:06d}.md"
        self._workspace.write_atomic(folder / name, to_markdown(trace, counters=True).encode())
        for old in self.versions(trace.project, trace.trace_id)[:-KEPT]:
            with suppress(FileNotFoundError):
                (self._workspace.root / old.path).unlink()

    def versions(self, project: str, trace_id: str) -> list[OldVersion]:
        """What is kept of a trace, oldest first."""
        folder = self._folder(project, trace_id)
        if not folder.is_dir() or folder.is_symlink():
            return []
        return sorted(
            OldVersion(int(name[1]), int(name[2]), self._workspace.relative(file))
            for file in folder.iterdir()
            if (name := _NAME.fullmatch(file.name)) and not file.is_symlink()
        )

    def read(self, old: OldVersion) -> ExecutionTrace:
        """One of them. Raises MalformedFile, also for one that names another trace."""
        trace = from_markdown(self._files.read(old.path), old.path)
        at = Path(old.path)
        if (trace.project, trace.trace_id) != (at.parent.parent.parent.name, at.parent.name):
            raise MalformedFile(old.path, "it is the history of another trace.")
        return trace

    def at(self, project: str, trace_id: str, version: int) -> ExecutionTrace | None:
        """The last content that a version had; None when it is not kept. Raises MalformedFile."""
        found = [old for old in self.versions(project, trace_id) if old.version == version]
        return self.read(found[-1]) if found else None

    def newest(self, project: str, trace_id: str) -> ExecutionTrace | None:
        """The newest that can be read; None when nothing is kept."""
        for old in reversed(self.versions(project, trace_id)):
            with suppress(MalformedFile):
                return self.read(old)
        return None

    def drop(self, project: str, trace_id: str) -> None:
        """Forget all of a trace. Raises WorkspaceUnwritable."""
        folder = self._folder(project, trace_id)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise WorkspaceUnwritable(
                f"{folder} cannot be deleted: {error.strerror}.",
                fix="Make the workspace writable.",
            ) from error

    def _folder(self, project: str, trace_id: str) -> Path:
        check_project_name(project)
        if not TRACE_ID.fullmatch(trace_id):
            raise MalformedFile(trace_id, "this is no trace id.")
        return self._workspace.traces / project / FOLDER / trace_id
