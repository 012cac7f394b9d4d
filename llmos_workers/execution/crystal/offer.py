"""A generated tool as a model is offered it: a tool whose calls are made one by one, each through
the gate like the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.errors import SandboxUnavailable, ToolDenied, ToolError
from llmos_workers.contracts.generated import GeneratedTool
from llmos_workers.contracts.tools import Effect, ToolCall, ToolResult, ToolSpec
from llmos_workers.execution.crystal.runners import Session

MAX_TEXT = 10_000

Open = Callable[[dict[str, str | int]], AbstractContextManager[Session]]
"""Starts the tool with these arguments. Raises SandboxUnavailable, ProgramFault."""


@dataclass(frozen=True)
class Offer:
    """One tool."""

    spec: ToolSpec
    open: Open

    def run(self, arguments: dict[str, Any], call: Callable[[ToolCall], ToolResult]) -> ToolResult:
        """Run it; ``call`` makes each of its calls. Raises what that raises, but ToolError."""
        try:
            with self.open(arguments) as session:
                while (asked := session.next_call()) is not None:
                    session.told(call(asked))
        except ToolDenied:
            raise
        except (ToolError, SandboxUnavailable) as error:
            return ToolResult(ok=False, error=f"{self.spec.name}: {error.message}")
        return ToolResult(ok=True, output=session.value or "done")


def spec_of(record: GeneratedTool) -> ToolSpec:
    """What the model sees of a generated tool."""
    kinds = {"str": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
             "int": {"type": "integer", "minimum": 0}}  # fmt: skip
    own = [each for each in record.parameters if each.form == 0]
    properties = {
        each.name: kinds[each.type] | {"description": f"such as {each.value}"} for each in own
    }
    return ToolSpec(
        name=record.name,
        description=f"Does in one go what worked {record.usage} times before: {record.goal}"
        + (f"\nIn general: {record.template}" if record.template else ""),
        input_schema={
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
        effect=Effect.READ,  # of itself it has none: its calls are asked about one by one
        informative=True,
    )
