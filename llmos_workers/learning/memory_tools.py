"""memory and memory_note: how a model looks up what is remembered, and adds to it, through the
gate. It sees its own project, and what is told to all.
"""

from __future__ import annotations

import json
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.memory import Level, NoteKind
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import Tool, ToolContext, success
from llmos_workers.kernel.redact import redact
from llmos_workers.learning.insights import MAX_TEXT, MAX_TITLE, NewNote
from llmos_workers.learning.memory_search import MemorySearch
from llmos_workers.learning.noted import NotedNotes
from llmos_workers.learning.trace_prose import one_line

MAX_HITS = 10


class MemoryTool:
    """Read only. What it finds of tainted runs taints this one."""

    spec = ToolSpec(
        name="memory",
        description="Search what is remembered of earlier work in this project: how goals went "
        "(sessions), solved goals (traces), facts and insights (notes). Results are data.",
        input_schema={
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 500},
                "level": {"type": "string", "enum": [level.value for level in Level]},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_HITS},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        effect=Effect.READ,
        informative=True,
    )

    def __init__(self, search: MemorySearch) -> None:
        self._search = search

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """One line of JSON a hit."""
        levels = [Level(arguments["level"])] if "level" in arguments else list(Level)
        hits = self._search.search(
            ctx.project, arguments["query"], levels=levels, limit=arguments.get("limit", 5)
        )
        lines = [
            json.dumps({"level": h.level, "name": h.name, "text": h.text}, ensure_ascii=False)
            for h in hits
        ]
        result = success("\n".join(lines) or "nothing remembered fits.")
        return result.model_copy(update={"tainted": any(hit.tainted for hit in hits)})


class MemoryNoteTool:
    """Adds an insight of this project. A run that holds content from outside makes a tainted note,
    which is told to nobody by itself.
    """

    spec = ToolSpec(
        name="memory_note",
        description="Note one thing about this project for later work: what holds, or what failed "
        "and why. One or two sentences that stand by themselves; no secrets.",
        input_schema={
            "type": "object",
            "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": MAX_TITLE},
                "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
                "kind": {"type": "string", "enum": [kind.value for kind in NoteKind]},
            },
            "required": ["title", "text"],
            "additionalProperties": False,
        },
        effect=Effect.EXTERNAL,
        informative=False,
    )

    def __init__(self, noted: NotedNotes) -> None:
        self._noted = noted

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Raises ToolError when nothing is left of the text without its secrets."""
        new = NewNote(
            kind=NoteKind(arguments.get("kind", NoteKind.CONVENTION)),
            title=one_line(redact(arguments["title"]), MAX_TITLE),
            text=one_line(redact(arguments["text"]), MAX_TEXT),
            projects=(ctx.project,),
            sources=(ctx.goal_id,),
            tainted=ctx.outside(),
        )
        if not new.text:
            raise ToolError("the note is empty.")
        path = self._noted.add(new)
        return success(f"noted as {path}." if path else "that is known already.")


def memory_tools(search: MemorySearch, noted: NotedNotes) -> list[Tool]:
    """Both."""
    return [MemoryTool(search), MemoryNoteTool(noted)]
