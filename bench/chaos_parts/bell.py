"""The Ring tool: it rings a bell outside of the project, by appending to a file.

Workers of a chaos run load this module beside their tasks (LLMOS_TASK_MODULES); it adds the tool
to those that llmos has. Ringing twice is what must never happen, and the file shows it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import ToolContext, success
from llmos_workers.execution.tools.registry import ToolRegistry

BELL_FILE = "CHAOS_BELL_FILE"
"""Environment: the file that rings are appended to."""

RING_SECS = 0.1
"""How long ringing takes: half before its effect, half after it."""


class RingTool:
    """Appends ``goal id, tab, bell`` to the bell file."""

    spec = ToolSpec(
        name="Ring",
        description="Ring a bell, once.",
        input_schema={
            "type": "object",
            "properties": {"bell": {"type": "string", "minLength": 1}},
            "required": ["bell"],
            "additionalProperties": False,
        },
        effect=Effect.EXTERNAL,
        informative=False,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """One line, in one write that the kernel keeps whole."""
        time.sleep(RING_SECS / 2)
        line = f"{ctx.goal_id}\t{arguments['bell']}\n".encode()
        file = os.open(os.environ[BELL_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)
        time.sleep(RING_SECS / 2)
        return success("the bell was rung")


def _with_bell(builtin: Any) -> Any:
    def make(_cls: type[Any], /, **given: Any) -> ToolRegistry:
        registry: ToolRegistry = builtin(**given)
        registry.register(RingTool())
        return registry

    return classmethod(make)


if os.environ.get(BELL_FILE):
    setattr(ToolRegistry, "builtin", _with_bell(ToolRegistry.builtin))  # noqa: B010


def read_rings(file: Path) -> list[tuple[str, str]]:
    """(goal id, bell) of each time that one rang."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(goal_id, bell) for goal_id, _, bell in (line.partition("\t") for line in lines)]
