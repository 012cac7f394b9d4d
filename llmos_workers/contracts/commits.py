"""A commit: what one goal changed in a project's files, and who is behind each change."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Contract, Record
from llmos_workers.contracts.modes import Mode


class FileKind(StrEnum):
    """What stands at a path of a project."""

    FILE = "file"
    LINK = "link"
    FOLDER = "folder"


class FileState(Record):
    """What stands at a path at one moment."""

    kind: FileKind = FileKind.FILE
    digest: str = ""
    """sha256 in hex of a file's content; empty for links and folders."""
    size: int = Field(default=0, ge=0)
    mode: int = Field(default=0o644, ge=0, le=0o777)
    target: str = ""
    """Where a link points to."""


class CommittedFile(Record):
    """One changed path. ``before`` None: it was made; ``after`` None: it was removed."""

    path: str
    before: FileState | None = None
    after: FileState | None = None
    step: int | None = None
    """Number of the tool call that wrote it, from 0."""
    model_call: str = ""
    """Request id of the model call that asked for it; empty for a replay."""
    tainted: str = ""
    """Where content from outside in it came from; empty: the run knew of none."""


class Writer(Contract):
    """Who wrote a file within a run."""

    step: int | None = None
    model_call: str = ""


class CommitFacts(Contract):
    """What a run knows of a commit beside the files."""

    mode: Mode | None = None
    trace_id: str = ""
    trace_version: int | None = None
    approver: str = ""
    """Who approved the goal or asked for the undo; empty: nobody had to."""
    writers: dict[str, Writer] = Field(default_factory=dict)
    """Path -> who wrote it last."""
    tainted: str = ""
    """Where the run's content from outside came from; empty: it held none."""
    commands: bool = False
    """Whether it ran commands, which may have read and written any file."""


class Commit(Record):
    """A commit as it is logged. ``undoes`` names the commit that this one took back."""

    commit_id: str
    seq: int = 0
    """Grows by one with each commit of the project, from 1."""
    project: str
    goal_id: str
    fence: int = 0
    at: float
    """Unix time in seconds."""
    mode: Mode | None = None
    trace_id: str = ""
    trace_version: int | None = None
    approver: str = ""
    undoes: str = ""
    files: tuple[CommittedFile, ...] = ()
