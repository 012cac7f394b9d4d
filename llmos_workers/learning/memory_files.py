"""Notes that people keep as files: ``memories/{facts,insights}/*.md``, and
``memories/projects/<project>/*.md`` for one project alone.

A fact or insight says in its front matter whom it is for: ``project: name``, a list of names, or
``"*"`` for all. One that does not say is shown to nobody: projects do not see into each other.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

Stamp = tuple[str, int, int]
"""Path of a note, and what changes when it does: mtime (ns), size."""


@dataclass(frozen=True)
class _Kept:
    note: MemoryNote
    projects: frozenset[str]
    words: frozenset[str]


@dataclass(frozen=True)
class _Shelf:
    """The notes of a project as they stood, by word."""

    stamps: tuple[Stamp, ...]
    notes: tuple[MemoryNote, ...] = ()
    holding: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Word -> positions of the notes that say it."""


class FileMemory:
    """A MemoryProvider over the workspace's files. Thread-safe; a file is read when it changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root / "memories"
        self._kept: dict[str, tuple[Stamp, _Kept | None]] = {}
        self._shelves: dict[str, _Shelf] = {}
        self._lock = threading.Lock()

    def recall(self, project: str, prompt: str, *, limit: int) -> Sequence[MemoryNote]:
        """Notes that share telling words with the prompt, the rarest words counting most."""
        with self._lock:
            shelf = self._shelf(project)
        scores: dict[int, float] = {}
        for word in sorted(set(words(prompt))):
            holding = shelf.holding.get(word, ())
            for at in holding:
                rarity = math.log(1 + len(shelf.notes) / len(holding))
                scores[at] = scores.get(at, 0.0) + rarity
        best = sorted(scores, key=lambda at: (-scores[at], shelf.notes[at].source))
        return [shelf.notes[at] for at in best[:limit]]

    def _shelf(self, project: str) -> _Shelf:
        stamps = self._stamps(project)
        shelf = self._shelves.get(project)
        if shelf is not None and shelf.stamps == stamps:
            return shelf
        found = [kept for stamp in stamps if (kept := self._look(stamp, project))]
        holding: dict[str, list[int]] = {}
        for at, kept in enumerate(found):
            for word in kept.words:
                holding.setdefault(word, []).append(at)
        shelf = self._shelves[project] = _Shelf(
            stamps,
            tuple(kept.note for kept in found),
            {word: tuple(places) for word, places in holding.items()},
        )
        return shelf

    def _stamps(self, project: str) -> tuple[Stamp, ...]:
        found: list[Stamp] = []
        for folder in (*SHARED, f"{OWN}/{project}"):
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        if entry.name.endswith(".md"):
                            facts = entry.stat()
                            path = f"{folder}/{entry.name}"
                            found.append((path, facts.st_mtime_ns, facts.st_size))
            except OSError:
                continue  # no such folder, or a file that is gone again
        return tuple(sorted(found)[:MAX_FILES])

    def _look(self, stamp: Stamp, project: str) -> _Kept | None:
        """The note in a file, if it is for the project."""
        known = self._kept.get(stamp[0])
        if known is None or known[0] != stamp:
            known = self._kept[stamp[0]] = (stamp, self._read(stamp[0]))
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
        return _Kept(note, _projects(path, fields), frozenset(words(f"{Path(path).stem} {body}")))


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
