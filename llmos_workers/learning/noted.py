"""Notes that llmos makes (L4): one Markdown file each, which people may edit or remove.

A note is written once. A later one that says the same only adds its sources, and not even that once
a person has changed the text. What a person removed is remembered as removed, and is not written
again. ``state/memory.json`` holds what was written; it is this module's own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from typing import Any

from llmos_workers.contracts.errors import MalformedFile, ToolError
from llmos_workers.contracts.memory import NoteKind
from llmos_workers.execution.hooks.memory import text_digest
from llmos_workers.kernel.clock import Clock, iso
from llmos_workers.kernel.front_matter import dump_front_matter
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.insights import NewNote, alike
from llmos_workers.learning.memory_files import EVERYBODY, LLMOS, read_note

log = logging.getLogger(__name__)

RECORD = "state/memory.json"
MAX_NOTED = 200
"""Most notes of llmos's own at once: each is looked at when a model is told what is remembered."""
MAX_SOURCES = 20
MAX_REMOVED = 1_000
"""So many removed notes are remembered, the newest."""
_SLUG = re.compile(r"[^a-z0-9]+")


class NotedNotes:
    """The notes llmos made. Written by upkeep, by the memory_note tool and by forget."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace, self._clock = workspace, clock
        self._root = workspace.root / "memories"
        self._lock = threading.Lock()

    def add(self, new: NewNote) -> str:
        """Keep a note; the path of its file, or "" when nothing new was written.

        Raises WorkspaceUnwritable.
        """
        with self._lock:
            record = self._record()
            for path, text in record.items():
                if alike(text, new.text):
                    self._bear_out(path, new)
                    return ""
            if sum(self._there(path) for path in record) >= MAX_NOTED:
                log.info("no note is added: there are %d already", MAX_NOTED)
                return ""
            path = _path_of(new)
            self._write(path, new.text, self._fields(new))
            self._keep(record | {path: new.text})
            return path

    def forget(self, path: str) -> bool:
        """Remove a note for good, whoever wrote it; whether there was one. Raises ToolError for a
        path that leads out.
        """
        with self._lock:
            try:
                note = read_note(self._root, path)
            except (ToolError, MalformedFile):
                note = None
            target = self._root / self._workspace.relative(path)
            if not target.resolve().is_relative_to(self._root.resolve()):
                raise ToolError(f"{path} is not a note.")
            there = target.is_file()
            target.unlink(missing_ok=True)
            if note is not None:
                self._keep(self._record() | {path: note.text})
            return there

    # -- inside ------------------------------------------------------------------------------

    def _fields(self, new: NewNote) -> dict[str, Any]:
        at = iso(self._clock.now())
        projects = list(new.projects)
        fields: dict[str, Any] = {
            "kind": new.kind.value,
            "project": EVERYBODY if projects == [EVERYBODY] else projects,
            "by": LLMOS,
            "noted": at,
            "seen": at,
            "sources": list(new.sources[:MAX_SOURCES]),
        }
        if new.tainted:
            fields["tainted"] = True
        return fields | {"digest": text_digest(new.text)}

    def _bear_out(self, path: str, new: NewNote) -> None:
        """Add sources to a note that is still as llmos wrote it. Whom it is told does not change:
        that would be telling it to people who never said so.
        """
        try:
            note = read_note(self._root, path)
        except (ToolError, MalformedFile):
            return  # removed, or no longer readable: a person's doing
        if not note.noted or (new.tainted and not note.tainted):
            return
        sources = list(dict.fromkeys([*map(str, note.fields.get("sources") or []), *new.sources]))
        seen = {"seen": iso(self._clock.now()), "sources": sources[:MAX_SOURCES]}
        if sources[:MAX_SOURCES] != note.fields.get("sources"):
            self._write(path, note.text, note.fields | seen)

    def _write(self, path: str, text: str, fields: dict[str, Any]) -> None:
        data = f"---\n{dump_front_matter(fields)}---\n\n{text}\n"
        self._workspace.write_atomic(f"memories/{path}", data.encode())

    def _there(self, path: str) -> bool:
        return (self._root / path).is_file()

    def _record(self) -> dict[str, str]:
        """Path -> text of all that was ever noted; {} when the record is lost or torn."""
        try:
            data = json.loads(self._workspace.read(RECORD))
        except (ToolError, ValueError):
            return {}
        return (
            {str(path): str(text) for path, text in data.items()} if isinstance(data, dict) else {}
        )

    def _keep(self, record: dict[str, str]) -> None:
        gone = [path for path in record if not self._there(path)]
        for path in gone[:-MAX_REMOVED]:
            del record[path]
        text = json.dumps(record, ensure_ascii=False, indent=1)
        self._workspace.write_atomic(RECORD, text.encode())


def _path_of(new: NewNote) -> str:
    folder = "facts" if new.kind is NoteKind.FACT else "insights"
    slug = _SLUG.sub("-", new.title.lower()).strip("-")[:48].strip("-")
    digest = hashlib.sha256("\n".join((*new.projects, new.text)).encode()).hexdigest()[:6]
    return f"{folder}/{slug or 'note'}-{digest}.md"
