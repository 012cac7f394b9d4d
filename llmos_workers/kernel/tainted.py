"""Which published files hold what others wrote, as far as runs that knew it published them.

By path, until a run that holds nothing from outside writes the file anew or a person trusts it; and
by content, wherever that content turns up again (moved, copied, brought back by an undo), until a
person trusts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmos_workers.contracts.base import Record
from llmos_workers.contracts.commits import Commit, CommitFacts, CommittedFile, FileKind
from llmos_workers.contracts.outcome import FileDigest

KNOWN_FROM = 32
"""Bytes from which a content is known again by its digest: shorter ones (an empty file, ``{}``)
are in many files that nobody poisoned.
"""

_PATH, _CONTENT = "path:", "content:"


class FileTaint(Record):
    """Where a file's content came from."""

    source: str
    """In a few words: the tool that brought it, or the file it was in before."""
    goal_id: str
    """The goal whose run published it."""
    at: float
    """Unix time in seconds."""
    digest: str = ""
    """sha256 of what was published; empty for links."""


@dataclass(frozen=True)
class TaintedFiles:
    """The tainted files of a project at one moment."""

    paths: Mapping[str, FileTaint] = field(default_factory=dict)
    contents: Mapping[str, FileTaint] = field(default_factory=dict)
    """By sha256."""

    @classmethod
    def read(cls, stored: Mapping[str, str]) -> TaintedFiles:
        """From the fields that ``marks`` and ``dump`` make."""
        found: dict[str, dict[str, FileTaint]] = {_PATH: {}, _CONTENT: {}}
        for name, value in stored.items():
            kind = _PATH if name.startswith(_PATH) else _CONTENT
            found[kind][name.removeprefix(kind)] = FileTaint.model_validate_json(value)
        return cls(found[_PATH], found[_CONTENT])

    def dump(self) -> dict[str, str]:
        """As fields; ``read`` takes them back."""
        paths = {_PATH + path: taint.model_dump_json() for path, taint in self.paths.items()}
        return paths | {_CONTENT + d: taint.model_dump_json() for d, taint in self.contents.items()}

    def of(self, path: str, digest: str | None) -> FileTaint | None:
        """The taint of a file with this content at this path; None: nothing is known of it."""
        return self.paths.get(path) or self.contents.get(digest or "")

    def among(self, files: Iterable[FileDigest]) -> str:
        """The first tainted one of these files, in words; "" when there is none."""
        for file in files:
            if taint := self.of(file.path, file.digest):
                return f"{file.path}, from {taint.source}"
        return ""


def tainted(
    files: Iterable[CommittedFile], known: TaintedFiles, facts: CommitFacts
) -> tuple[CommittedFile, ...]:
    """A commit's files, each with where content from outside in it came from.

    All that a tainted run published is tainted. Of what another run published, known contents are,
    and so is a tainted file that was changed while commands ran: they may have kept its words.
    """
    found = []
    for file in files:
        source, after = "", file.after
        if after is not None and after.kind is not FileKind.FOLDER:
            before = known.contents.get(after.digest)
            if before is None and facts.commands:
                before = known.paths.get(file.path)
            source = facts.tainted or (before.source if before else "")
        found.append(file.model_copy(update={"tainted": source}))
    return tuple(found)


def marks(commit: Commit) -> dict[str, str]:
    """The tainted ones of a commit's files: field -> value. All others are so no longer."""
    found: dict[str, str] = {}
    for file in commit.files:
        after = file.after
        if after is None or not file.tainted:
            continue
        taint = FileTaint(
            source=file.tainted, goal_id=commit.goal_id, at=commit.at, digest=after.digest
        )
        value = taint.model_dump_json()
        found[_PATH + file.path] = value
        if after.digest and after.size >= KNOWN_FROM:
            found[_CONTENT + after.digest] = value
    return found


def names_of(path: str, taint: FileTaint | None, digest: str) -> dict[str, str]:
    """The fields that a person's trust in a file removes, with what they have to hold for it."""
    expected = {_PATH + path: taint.model_dump_json() if taint else ""}
    return expected | ({_CONTENT + digest: ""} if digest else {})
