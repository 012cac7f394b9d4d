"""Every version of every agent: ``agents/.history/<name>/<number>.md`` and who made it.

A version is the whole file as it stood, with a small JSON file beside it. Nothing here is ever
changed or removed, so that the history may live in git.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from llmos_workers.contracts.base import of_known
from llmos_workers.contracts.errors import DataError, MalformedFile, NotThere
from llmos_workers.kernel.workspace import Workspace

FOLDER = ".history"
BY_HAND = "by hand"
"""Author of a version that was found in the file and that llmos did not write."""


@dataclass(frozen=True)
class AgentVersion:
    """Who wrote a version, when and why."""

    number: int
    """From 1; the file's own ``version``, except in files that people wrote."""
    at: str
    """UTC, ISO 8601."""
    by: str
    """``person``, ``agent NAME`` or BY_HAND."""
    why: str = ""
    goal_id: str = ""
    draft: bool = False
    """Proposed, and never in force as this version."""


class AgentHistory:
    """Reads and adds versions. Whoever adds holds the lock of the agents' folder."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def versions(self, name: str) -> list[AgentVersion]:
        """All versions of an agent, the oldest first; empty when none was recorded.

        Raises MalformedFile when a record cannot be read.
        """
        found = [self._read(path) for path in self._folder(name).glob("*.json")]
        return sorted(found, key=lambda version: version.number)

    def text(self, name: str, number: int) -> str:
        """The file as it stood in a version. Raises NotThere, DataError."""
        try:
            return self._file(name, number, "md").read_text(encoding="utf-8")
        except FileNotFoundError:
            known = ", ".join(str(version.number) for version in self.versions(name)) or "none"
            raise NotThere(
                f"agent {name!r} has no version {number}.", fix=f"Recorded: {known}."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"version {number} of {name!r} cannot be read: {error}.") from None

    def last(self, name: str) -> AgentVersion | None:
        """The newest version that was in force, drafts left out."""
        there = [version for version in self.versions(name) if not version.draft]
        return there[-1] if there else None

    def next_number(self, name: str, *, above: int = 0) -> int:
        """The number of the next version."""
        return max([above, *(version.number for version in self.versions(name))]) + 1

    def add(self, name: str, text: str, version: AgentVersion) -> None:
        """Record a version. Raises DataError when that number is taken, WorkspaceUnwritable."""
        if self._file(name, version.number, "md").exists():
            raise DataError(f"version {version.number} of {name!r} is recorded already.")
        self._workspace.write_atomic(self._file(name, version.number, "md"), text.encode())
        facts = json.dumps(asdict(version), indent=1, ensure_ascii=False) + "\n"
        self._workspace.write_atomic(self._file(name, version.number, "json"), facts.encode())

    def diff(self, name: str, before: int, after: int) -> str:
        """What changed between two versions, as a unified diff. Raises NotThere."""
        return unified(
            self.text(name, before),
            self.text(name, after),
            f"{name} version {before}",
            f"{name} version {after}",
        )

    def _folder(self, name: str) -> Path:
        return self._workspace.agents / FOLDER / name

    def _file(self, name: str, number: int, ending: str) -> Path:
        return self._folder(name) / f"{number:04}.{ending}"

    def _read(self, path: Path) -> AgentVersion:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return of_known(AgentVersion, data)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise MalformedFile(str(path), f"is no record of a version: {error}.") from None


def unified(before: str, after: str, before_name: str, after_name: str) -> str:
    """A unified diff of two texts; empty when they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), before_name, after_name, lineterm=""
    )
    return "\n".join(lines)
