"""Notes that people keep as files: ``memories/{facts,insights}/*.md``, and
``memories/projects/<project>/*.md`` for one project alone.

A fact or insight says in its front matter whom it is for: ``project: name``, a list of names, or
``"*"`` for all. One that does not say is shown to nobody: projects do not see into each other.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.execution.hooks.memory import MemoryNote
from llmos_workers.execution.tools.search_engine import words
from llmos_workers.kernel.front_matter import FrontMatterError, load_mapping
from llmos_workers.kernel.workspace import Workspace, read_inside

log = logging.getLogger(__name__)

SHARED = ("facts", "insights")
OWN = "projects"
EVERYBODY = "*"
MAX_FILES = 2_000
"""Files looked at; the first by name."""
MAX_FILE_BYTES = 65_536

Stamp = tuple[int, int]


@dataclass(frozen=True)
class _Kept:
    note: MemoryNote
    projects: frozenset[str]
    words: Counter[str]


class FileMemory:
    """A MemoryProvider over the workspace's files. Thread-safe; a file is read when it changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / "memories"
        self._kept: dict[str, tuple[Stamp, _Kept | None]] = {}
        self._lock = threading.Lock()

    def recall(self, project: str, prompt: str, *, limit: int) -> Sequence[MemoryNote]:
        """Notes that share telling words with the prompt, the rarest words counting most."""
        with self._lock:
            notes = [kept for path in self._files(project) if (kept := self._look(path, project))]
        asked = set(words(prompt))
        holding = Counter(word for kept in notes for word in kept.words)
        rarity = {word: math.log(1 + len(notes) / count) for word, count in holding.items()}
        scored = [
            (sum(rarity[word] for word in sorted(asked & set(kept.words))), kept) for kept in notes
        ]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1].note.source))
        return [kept.note for score, kept in best[:limit] if score > 0]

    def _files(self, project: str) -> list[str]:
        found: list[str] = []
        for folder in (*SHARED, f"{OWN}/{project}"):
            place = self._root / folder
            if place.is_dir():
                found += sorted(f"{folder}/{path.name}" for path in place.glob("*.md"))
        return found[:MAX_FILES]

    def _look(self, path: str, project: str) -> _Kept | None:
        """The note in a file, if it is for the project."""
        try:
            facts = (self._root / path).stat()
        except OSError:
            return None
        stamp = (facts.st_mtime_ns, facts.st_size)
        known = self._kept.get(path)
        if known is None or known[0] != stamp:
            known = self._kept[path] = (stamp, self._read(path))
        kept = known[1]
        return kept if kept and kept.projects & {project, EVERYBODY} else None

    def _read(self, path: str) -> _Kept | None:
        try:
            text = read_inside(self._root, path, limit=MAX_FILE_BYTES).decode("utf-8", "replace")
            fields, body = _split(text)
        except (ToolError, FrontMatterError) as error:
            log.warning("memory note %s cannot be read: %s", path, error)
            return None
        note = MemoryNote(path, body.strip(), tainted=fields.get("tainted", False) is not False)
        return _Kept(note, _projects(path, fields), Counter(words(f"{Path(path).stem} {body}")))


def _projects(path: str, fields: dict[str, Any]) -> frozenset[str]:
    folder, _, rest = path.partition("/")
    if folder == OWN:
        return frozenset({rest.partition("/")[0]})
    named = fields.get("project", [])
    return frozenset(map(str, named if isinstance(named, list) else [named]))


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Front matter, if there is any, and what stands below it. Raises FrontMatterError."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}, text
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        raise FrontMatterError("the front matter has no closing line '---'.")
    return load_mapping("\n".join(lines[1:end]) + "\n"), "\n".join(lines[end + 1 :])
