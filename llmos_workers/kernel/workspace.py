"""The workspace: the folder that holds everything people read and edit as files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from llmos_workers.contracts.errors import FileMissing, InvalidOption, ToolError
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.kernel import paths

FOLDERS = (
    "agents",
    "memories/traces",
    "memories/sessions",
    "memories/facts",
    "memories/insights",
    "memories/projects",
    "projects",
    "state",
)
BOARDS = "boards"
"""Folder of a project's state that holds the boards of plans (kernel.board)."""

_BOARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
PROJECT_FOLDERS = ("components", "memory", "output", "state")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ProjectFolder:
    """A project's folders. Tools write ``output`` only."""

    name: str
    root: Path

    @property
    def output(self) -> Path:
        """What goals make: the area that tools may read and write."""
        return self.root / "output"

    @property
    def components(self) -> Path:
        """Reusable parts that people keep."""
        return self.root / "components"

    @property
    def memory(self) -> Path:
        """Notes of the project."""
        return self.root / "memory"

    @property
    def state(self) -> Path:
        """Snapshots that llmos writes; no tool can."""
        return self.root / "state"

    def ensure(self) -> ProjectFolder:
        """Make the folders that are missing. Raises WorkspaceUnwritable."""
        for name in PROJECT_FOLDERS:
            make_folder(self.root / name)
        return self


def board_name(goal_id: str) -> str:
    """Name of a goal's board; ids that plain apps chose may hold anything."""
    if _BOARD_NAME.fullmatch(goal_id):
        return goal_id
    return hashlib.sha256(goal_id.encode()).hexdigest()


class Workspace:
    """The workspace at ``root``; nothing is read or made until it is asked for."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @property
    def agents(self) -> Path:
        """The agents' Markdown files."""
        return self.root / "agents"

    @property
    def traces(self) -> Path:
        """The traces' Markdown files."""
        return self.root / "memories" / "traces"

    @property
    def projects(self) -> Path:
        """One folder for each project."""
        return self.root / "projects"

    @property
    def state(self) -> Path:
        """Snapshots and the embedded stack's files."""
        return self.root / "state"

    @property
    def keys(self) -> Path:
        """The signing key and the trusted keys; made by kernel/signing when needed."""
        return self.state / "keys"

    @property
    def audit(self) -> Path:
        """The gate's decisions; made by kernel/gate_files when needed."""
        return self.state / "audit"

    def ensure(self) -> Workspace:
        """Make the folders that are missing. Raises WorkspaceUnwritable."""
        for name in FOLDERS:
            make_folder(self.root / name)
        return self

    def project(self, name: str) -> ProjectFolder:
        """A project's folders, made when missing. Raises InvalidOption, WorkspaceUnwritable."""
        return self.peek(name).ensure()

    def peek(self, name: str) -> ProjectFolder:
        """A project's folders, without making them. Raises InvalidOption for a bad name.

        ``<name>@<board>`` is a board as its members see it (kernel.board).
        """
        project, *boards = name.split("@") if isinstance(name, str) else [name]
        checked = check_project_name(project)
        folder = ProjectFolder(checked, self.projects / checked)
        for board in boards:
            if not _BOARD_NAME.fullmatch(board):
                raise InvalidOption(f"{name!r} is no place for files.")
            place = f"{folder.name}@{board}"
            folder = ProjectFolder(place, folder.state / BOARDS / board)
        return folder

    def write_atomic(self, path: Path | str, data: bytes) -> Path:
        """Write a file of the workspace in one step, making its folders; returns its path.

        ``path`` is relative to the root or lies below it. After a crash the file holds the
        old content or the new. Raises ToolError when it leads out, WorkspaceUnwritable.
        """
        return self.root / paths.write_inside(self.root, self.relative(path), data)

    def read(self, path: Path | str) -> bytes:
        """Content of a file of the workspace. Raises ToolError."""
        return read_inside(self.root, self.relative(path))

    def relative(self, path: Path | str) -> str:
        """``path`` relative to the root, unresolved. Raises ToolError when it lies elsewhere."""
        given = Path(path)
        if not given.is_absolute():
            return str(path)
        try:
            return given.relative_to(self.root).as_posix()
        except ValueError:
            raise ToolError(f"{given} is not in the workspace {self.root}.") from None


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises WorkspaceUnwritable."""
    try:
        path.mkdir(mode=paths.FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise paths.refuse(str(path), error, writing=True) from None


def resolve_inside(base: Path, relative: str) -> Path:
    """See paths.resolve_inside."""
    return paths.resolve_inside(base, relative)


def read_inside(base: Path, relative: str, *, limit: int | None = None) -> bytes:
    """Content of a regular file, at most ``limit`` bytes of it. Raises ToolError."""
    with _open_regular(paths.open_inside(base, relative), relative) as file:
        return file.read() if limit is None else file.read(limit)


def peek_inside(base: Path, relative: str, *, limit: int) -> bytes:
    """The same, without leaving a mark that it was read. Raises ToolError."""
    with _open_regular(paths.open_inside(base, relative), relative) as file:
        _leave_no_mark(file.fileno())
        return file.read(limit)


def digest_file(base: Path, relative: str) -> FileDigest:
    """sha256 and size of a file as it is now; digest None when there is no such file.

    Raises ToolError when the path leads out of ``base`` or is no regular file.
    """
    name = paths.plain(relative)
    try:
        fd = paths.open_inside(base, relative)
    except FileMissing:
        return FileDigest(path=name, digest=None)
    with _open_regular(fd, relative) as file:
        _leave_no_mark(file.fileno())
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileDigest(path=name, digest=digest.hexdigest(), size=size)


def _leave_no_mark(fd: int) -> None:
    """Let reading not show in the file's times, where that is ours to say: who else reads a file
    can be told from them (see execution.sandbox.watched).
    """
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | getattr(os, "O_NOATIME", 0))


def _open_regular(fd: int, relative: str) -> BinaryIO:
    """The open descriptor as a file; closed, with ToolError, when it is a folder or a pipe."""
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ToolError(f"{relative!r} is not a regular file.")
    return os.fdopen(fd, "rb")


def digest_bytes(path: str, data: bytes) -> FileDigest:
    """The digest of content that is in memory."""
    return FileDigest(path=path, digest=hashlib.sha256(data).hexdigest(), size=len(data))
