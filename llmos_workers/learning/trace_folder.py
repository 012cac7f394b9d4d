"""The file side of a trace: where its Markdown lies, and how it comes there in one step."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.errors import MalformedFile, ToolError, WorkspaceUnwritable
from llmos_workers.contracts.goal import PROJECT_NAME
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.trace_file import MAX_BYTES, from_markdown

STAGED = ".staged"
STALE_STAGED_SECS = 3_600
TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TraceFolder:
    """``memories/traces/<project>/<slug>-<trace_id>.md`` below a workspace.

    Paths given and taken are relative to the workspace's root, with forward slashes.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.root = workspace.traces

    @property
    def there(self) -> bool:
        """Whether the folder of traces exists at all (a volume may not be mounted)."""
        return self.root.is_dir()

    def path_of(self, trace: ExecutionTrace) -> str:
        """Where a new trace's file goes."""
        name = f"{slug(trace.goal_text)}-{trace.trace_id}.md"
        return self._workspace.relative(self.root / trace.project / name)

    def stamp(self, path: str) -> str | None:
        """Modification time (ns) and size of a regular file; None when there is none.

        One stat: this is on the way of every replay.
        """
        try:
            facts = os.lstat(self._workspace.root / path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{facts.st_mtime_ns}:{facts.st_size}" if stat.S_ISREG(facts.st_mode) else None

    def read(self, path: str) -> str:
        """Text of a file. Raises MalformedFile when it cannot be read as one."""
        if (self._workspace.root / path).is_symlink():
            raise MalformedFile(path, "it is a symbolic link; traces are read from plain files.")
        try:
            if (self._workspace.root / path).stat().st_size > MAX_BYTES:
                raise MalformedFile(path, f"the file is larger than {MAX_BYTES:,} bytes.")
            return self._workspace.read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise MalformedFile(path, "the file is not UTF-8 text.", line=line) from None
        except (OSError, ToolError) as error:
            raise MalformedFile(path, f"it cannot be read: {error}") from None

    def parse(self, path: str) -> ExecutionTrace:
        """The trace in a file. Raises MalformedFile, also for one that lies in a wrong place."""
        trace = from_markdown(self.read(path), path)
        project = Path(path).parent.name
        if trace.project != project:
            raise MalformedFile(
                path,
                f"it says project {trace.project!r} but lies in the folder of {project!r}.",
                fix="Move the file or correct its field 'project'.",
            )
        if not TRACE_ID.fullmatch(trace.trace_id):
            raise MalformedFile(path, f"the trace id {trace.trace_id!r} is not allowed.")
        return trace

    def files(self) -> Iterator[str]:
        """Paths of all trace files, sorted. Raises MalformedFile never; odd folders are skipped."""
        if not self.there:
            return
        for folder in sorted(self.root.iterdir()):
            if PROJECT_NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                for file in sorted(folder.glob("*.md")):
                    if not file.name.startswith("."):
                        yield self._workspace.relative(file)

    def stage(self, path: str, text: str) -> tuple[str, str]:
        """Write the text beside ``path`` under a name that no scan reads: (its path, its stamp).

        Raises WorkspaceUnwritable; then nothing has happened.
        """
        target = Path(path)
        name = f".{target.stem[:80]}.{secrets.token_hex(6)}{STAGED}"
        staged = (target.parent / name).as_posix()
        self._workspace.write_atomic(staged, text.encode())
        stamp = self.stamp(staged)
        if stamp is None:
            raise WorkspaceUnwritable(f"{staged} vanished while it was written.")
        return staged, stamp

    def publish(self, staged: str, path: str) -> bool:
        """Give a staged file its name; False when it is no longer there. Keeps its stamp.

        Raises WorkspaceUnwritable.
        """
        root = self._workspace.root
        try:
            (root / staged).replace(root / path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise WorkspaceUnwritable(
                f"{path} cannot be written: {error.strerror}.",
                fix="Make the workspace writable.",
            ) from error
        folder = os.open((root / path).parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def drop(self, path: str) -> None:
        """Remove a file if it is there. Raises WorkspaceUnwritable."""
        try:
            (self._workspace.root / path).unlink(missing_ok=True)
        except OSError as error:
            raise WorkspaceUnwritable(
                f"{path} cannot be deleted: {error.strerror}.", fix="Make the workspace writable."
            ) from error

    def sweep(self, keep: set[str]) -> None:
        """Remove staged files that a crash left behind and no record waits for."""
        if not self.there:
            return
        for file in self.root.glob(f"*/.*{STAGED}"):
            with suppress(OSError):
                old = time.time() - file.stat().st_mtime > STALE_STAGED_SECS
                if old and self._workspace.relative(file) not in keep:
                    file.unlink()


def slug(text: str) -> str:
    """A short file name from a goal: lower-case ASCII words, at most 48 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:48].strip("-") or "goal"


def is_older(stamp: str, other: str) -> bool:
    """Whether the file with ``stamp`` was written before the one with ``other``."""
    return int(stamp.split(":", maxsplit=1)[0]) < int(other.split(":", maxsplit=1)[0])
