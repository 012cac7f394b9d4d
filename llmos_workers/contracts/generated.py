"""Generated tools: what llmos vouches for when it compiled a trace, and its parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmos_workers.contracts.base import Contract


class ToolParameter(Contract):
    """A parameter of a generated tool, and the value of a goal that it takes."""

    name: str
    type: Literal["str", "int"] = "str"
    slot: str
    """Name of the slot of the goal."""
    form: int = Field(default=0, ge=0)
    """Which spelling of the slot's value it is; 0: as the goal says it."""
    value: str = ""
    """What it was when the trace was learned."""


class SourceTrace(Contract):
    """A trace that a generated tool was made from."""

    trace_id: str
    version: int = Field(ge=1)
    digest: str
    """sha256 of what of the trace decides which calls are made."""
    values: dict[str, str] = Field(default_factory=dict)
    """Slot values with which the tool makes this trace's calls."""


class GeneratedTool(Contract):
    """All that is signed of a generated tool; its file lies beside its source."""

    format: int = 1
    name: str
    version: int = Field(ge=1)
    project: str
    goal: str
    """The goal of the first trace."""
    template: str = ""
    """The goal with ``{slot}`` for each value that may vary; "": nothing varies."""
    parameters: tuple[ToolParameter, ...] = ()
    tools: dict[str, str] = Field(default_factory=dict)
    """Tool to version, of all that it can call: whoever may use all of them may use it."""
    traces: tuple[SourceTrace, ...]
    made_by: str = "compiler"
    """``compiler``, or the model that proposed the source."""
    made_at: str = ""
    """ISO 8601, UTC."""
    usage: int = Field(default=0, ge=0)
    """Uses of the trace when the tool was made."""
    success: float = Field(default=1.0, ge=0, le=1)
    recorded: int = Field(default=0, ge=0)
    """Executions on record that the proof did again with the same effects."""
    unused: int = Field(default=0, ge=0)
    """Sets of values that no run used, for which it did what the trace does."""
    source_digest: str
    """sha256 of the source."""
    signature: str = ""
    """Of everything above."""

    @property
    def ref(self) -> str:
        """How a trace names it: ``name_version``, also the name of its file."""
        return f"{self.name}_{self.version}"
