"""Facts and insights (L4) as files: ``memories/{facts,insights}/*.md``, and
``memories/projects/<project>/*.md`` for one project alone.

A fact or insight says in its front matter whom it is for: ``project: name``, a list of names, or
``"*"`` for all. One that does not say is shown to nobody: projects do not see into each other.
What llmos noted itself says so (``by: llmos``) with a digest of its text; once a person changes
the text, it is theirs. See docs/memory.md.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import MalformedFile, ToolError
from llmos_workers.execution.hooks.memory import MemoryNote, text_digest
from llmos_workers.execution.tools.search_engine import words
from llmos_workers.kernel.workspace import Workspace, read_inside
from llmos_workers.learning.session_file import split_front_matter

log = logging.getLogger(__name__)

SHARED = ("facts", "insights")
OWN = "projects"
EVERYBODY = "*"
LLMOS = "llmos"
"""Value of ``by`` in a note that llmos made."""
MAX_FILES = 2_000
"""Files looked at; the first by name."""
MAX_FILE_BYTES = 65_536

Stamp = tuple[str, int, int]
"""Path of a note, and what changes when it does: mtime (ns), size."""


@dataclass(frozen=True)
class StoredNote:
    """A note as its file holds it."""

    path: str
    """Below memories/."""
    text: str
    projects: frozenset[str]
    fields: dict[str, Any]
    """The front matter."""
    words: frozenset[str]

    @property
    def tainted(self) -> bool:
        """Learned from the words of others."""
        return self.fields.get("tainted", False) is not False

    @property
    def noted(self) -> bool:
        """llmos noted it itself, and no person has changed its text."""
        by, digest = self.fields.get("by"), self.fields.get("digest")
        return by == LLMOS and digest == text_digest(self.text)

    @property
    def told(self) -> MemoryNote:
        """The note as a model is told it."""
        return MemoryNote(self.path, self.text, self.tainted)

    def visible(self, project: str, *, across: bool) -> bool:
        """Whether a project sees it; ``across``: also what llmos learned in several ones."""
        if project in self.projects:
            return True
        return EVERYBODY in self.projects and (across or not self.noted)


@dataclass(frozen=True)
class _Shelf:
    """Notes as they stood, by word."""

    notes: tuple[MemoryNote, ...]
    holding: Mapping[str, tuple[int, ...]]
    """Word -> positions of the notes that say it."""


class FileMemory:
    """A MemoryProvider over the workspace's files. Thread-safe; a file is read when it changed."""

    def __init__(self, workspace: Workspace, *, across: bool = True) -> None:
        """``across``: projects see what llmos learned in several of them."""
        self._root, self._across = workspace.root / "memories", across
        self._kept: dict[str, tuple[Stamp, StoredNote | None]] = {}
        self._shelves: dict[str, tuple[tuple[Stamp, ...], tuple[_Shelf, _Shelf]]] = {}
        self._lock = threading.Lock()

    def recall(
        self, project: str, prompt: str, *, limit: int, noted: bool = False
    ) -> Sequence[MemoryNote]:
        """Notes that share telling words with the prompt, the rarest words counting most:
        people's notes, or those that llmos made (``noted``). The two are ranked apart, so that
        what llmos notes changes nothing of what people's notes tell. What it noted of the words of
        others is found by searching only: nobody is tainted unasked.
        """
        with self._lock:
            shelf = self._shelf(project)[noted]
        scores: dict[int, float] = {}
        for word in sorted(set(words(prompt))):
            holding = shelf.holding.get(word, ())
            for at in holding:
                rarity = math.log(1 + len(shelf.notes) / len(holding))
                scores[at] = scores.get(at, 0.0) + rarity
        best = sorted(scores, key=lambda at: (-scores[at], shelf.notes[at].source))
        return [shelf.notes[at] for at in best[:limit]]

    def fallen(self, project: str, premises: Sequence[str]) -> list[str]:
        """See MemoryProvider. A note that a person took over as it was still says the same."""
        there = {note.told.premise for note in self.notes(project)}
        return [each for each in premises if each not in there]

    def notes(self, project: str) -> list[StoredNote]:
        """All notes that a project sees, by path."""
        with self._lock:
            return self._visible(project, self._stamps(project))

    def _visible(self, project: str, stamps: Sequence[Stamp]) -> list[StoredNote]:
        found = [note for stamp in stamps if (note := self._look(stamp))]
        return [note for note in found if note.visible(project, across=self._across)]

    def _shelf(self, project: str) -> tuple[_Shelf, _Shelf]:
        """People's notes, and llmos's own."""
        stamps = self._stamps(project)
        known = self._shelves.get(project)
        if known is None or known[0] != stamps:
            notes = self._visible(project, stamps)
            people = _shelve([note for note in notes if not note.noted])
            own = _shelve([note for note in notes if note.noted and not note.tainted])
            known = self._shelves[project] = (stamps, (people, own))
        return known[1]

    def _stamps(self, project: str) -> tuple[Stamp, ...]:
        found: list[Stamp] = []
        for folder in (*SHARED, f"{OWN}/{project}"):
            with suppress(OSError), os.scandir(self._root / folder) as entries:  # may not be there
                for entry in entries:
                    if entry.name.endswith(".md") and (facts := _facts(entry)):
                        path = f"{folder}/{entry.name}"
                        found.append((path, facts.st_mtime_ns, facts.st_size))
        return tuple(sorted(found)[:MAX_FILES])

    def _look(self, stamp: Stamp) -> StoredNote | None:
        known = self._kept.get(stamp[0])
        if known is None or known[0] != stamp:
            known = self._kept[stamp[0]] = (stamp, self._read(stamp[0]))
        return known[1]

    def _read(self, path: str) -> StoredNote | None:
        try:
            return read_note(self._root, path)
        except (ToolError, MalformedFile) as error:
            log.warning("memory note %s cannot be read: %s", path, error)
            return None


def _facts(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None: it is gone again, and says nothing of the files beside it."""
    try:
        return entry.stat()
    except OSError:
        return None


def read_note(root: Path, path: str) -> StoredNote:
    """The note in ``path`` below ``root`` (memories/). Raises ToolError, MalformedFile."""
    text = read_inside(root, path, limit=MAX_FILE_BYTES).decode("utf-8", "replace")
    fields, body = split_front_matter(text, path)
    told = frozenset(words(f"{Path(path).stem} {body}"))
    return StoredNote(path, body.strip(), _projects(path, fields), fields, told)


def _shelve(notes: Sequence[StoredNote]) -> _Shelf:
    holding: dict[str, list[int]] = {}
    for at, note in enumerate(notes):
        for word in note.words:
            holding.setdefault(word, []).append(at)
    places = {word: tuple(found) for word, found in holding.items()}
    return _Shelf(tuple(note.told for note in notes), places)


def _projects(path: str, fields: dict[str, Any]) -> frozenset[str]:
    folder, _, rest = path.partition("/")
    if folder == OWN:
        return frozenset({rest.partition("/")[0]})
    named = fields.get("project", [])
    return frozenset(map(str, named if isinstance(named, list) else [named]))
