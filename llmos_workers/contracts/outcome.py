"""What a run gives back. It is JSON, exists for every final state, and is never an exception."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from llmos_workers.contracts.base import Micro, Record
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.plan import PlanView


class Usage(Record):
    """Tokens of one or more model calls, as the API counts them."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_write_5m_tokens: int = Field(default=0, ge=0)
    cache_write_1h_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)

    @property
    def prompt_tokens(self) -> int:
        """All input: fresh, written to the cache and read from it."""
        return (
            self.input_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
            + self.cache_read_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.prompt_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Sum, field by field."""
        mine, theirs = self.model_dump(), other.model_dump()
        return Usage(**{name: mine[name] + theirs[name] for name in Usage.model_fields})


class FileDigest(Record):
    """A file of the project as it was at one moment."""

    path: str
    """Relative to the project's output folder, with forward slashes."""
    digest: str | None
    """sha256 in hex, or None: the file did not exist."""
    size: int = Field(default=0, ge=0)


class ToolCallSummary(Record):
    """One tool call in an outcome: short, without secrets or bulk."""

    name: str
    summary: str
    ok: bool
    exit_code: int | None = None
    duration_ms: float = 0.0


class ErrorInfo(Record):
    """Why a goal did not succeed, in words a user can act on."""

    kind: str
    """Name of the error class in contracts.errors."""
    message: str
    fix: str = ""


class Outcome(Record):
    """The result of a goal. ``status`` is the final GoalState's value."""

    goal_id: str
    status: str
    project: str = "default"
    mode: Mode | None = None
    reason: str = ""
    confidence: float = 0.0
    trace_id: str | None = None
    trace_version: int | None = None
    learned_trace_id: str | None = None
    """The trace that this run saved, when it learned one."""
    slots: dict[str, str] = Field(default_factory=dict)
    tool: str | None = None
    """The generated tool that did it (CRYSTALLIZED)."""
    text: str = ""
    replayed_from: str | None = None
    """ISO date of the learning run when the answer came from a replay."""
    files: tuple[FileDigest, ...] = ()
    tool_calls: tuple[ToolCallSummary, ...] = ()
    llm_calls: int = Field(default=0, ge=0)
    usage: Usage = Field(default_factory=Usage)
    cost_micro: Micro = 0
    saved_micro: Micro = 0
    """What the trace's learning run cost, less what this run cost; 0 for a learning run."""
    duration_s: float = Field(default=0.0, ge=0)
    """From acceptance to the end, in seconds."""
    error: ErrorInfo | None = None
    approval_id: str | None = None
    tainted: str = ""
    """Where content from outside came from that the run took in; "" when it took in none."""
    plan: PlanView | None = None
    """What became of each part of a goal that was split."""
    dry_run: dict[str, Any] | None = None
    """For a dry run: what would happen (mode, trace, slots, worst cost, files)."""

    @property
    def ok(self) -> bool:
        """Whether the goal succeeded in full."""
        return self.status == "SUCCEEDED"
