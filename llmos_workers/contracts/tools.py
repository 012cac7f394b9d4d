"""Tools as all rooms speak of them: specification, call, result."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any

from pydantic import Field

from llmos_workers.contracts.base import Contract, Record
from llmos_workers.contracts.outcome import FileDigest


class Effect(StrEnum):
    """What running a tool twice does."""

    READ = "read"
    """Changes nothing; its output informs whoever called."""
    IDEMPOTENT = "idempotent"
    """Changes files of the project; the same call again leaves the same files."""
    EXTERNAL = "external"
    """May have effects outside the project, or other effects when repeated."""


COMMAND_TOOLS = frozenset({"Bash", "Python"})
"""Tools that run programs: what these read and write is seen from outside only."""

CONFINED_TOOLS = frozenset({"Bash", "Edit", "Python"})
"""EXTERNAL tools whose effects stay inside the project: sandboxed, or one file of it."""


SEARCH_TOOLS = "search_tools"
RUN_SEQUENCE = "run_sequence"
RUN_TOOLS = frozenset({SEARCH_TOOLS, RUN_SEQUENCE})
"""Tools of the agent loop itself: they reach nothing, what they lead to passes the gate, and no
trace holds them."""


class ToolSpec(Contract):
    """What a tool is: the model sees name, description and schema; the gate sees the rest."""

    name: str
    description: str
    input_schema: dict[str, Any]
    effect: Effect
    informative: bool
    """Whether the output tells the caller something the call did not say (Read, Bash: yes;
    Write: no). What a model writes after an informative result depends on that result."""
    destructive: bool = False
    egress: bool = False
    """Arguments leave this machine."""
    control: bool = False
    """Changes what agents are and may do: agents, grants, hooks, tools."""
    timeout_s: float = Field(default=120.0, gt=0)
    defer_loading: bool | None = None
    """With many tools: True keeps it out of the prompt until it is searched for, False keeps it in,
    None leaves it to execution.defer_tools_by_default."""
    from_outside: bool = False
    """Its results are the words of others (a web page, an MCP server): they taint the run."""
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Limits of numbers among the arguments: dotted name -> (least, greatest); the gate refuses
    what is outside. Such as ``{"position.z": (0, 400)}`` for a robot's arm, in the tool's units."""
    implementation: str = "1"
    """Raised by the tool's author when the same call may do something else than before."""

    @property
    def version(self) -> str:
        """12 hex digits over everything that a recorded call relied on."""
        facts = [self.name, self.input_schema, self.effect.value, self.implementation]
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class ToolCall(Record):
    """A tool's name with its arguments."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    call_id: str = ""
    """The model's id of the call (toolu_...); empty in traces."""

    def digest(self) -> str:
        """sha256 over name and canonical arguments: what an approval is bound to."""
        canonical = json.dumps(
            [self.name, self.arguments], sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


class ToolResult(Record):
    """What came of a call. A failed call is a result too, not an exception."""

    ok: bool
    output: str = ""
    """Text for the model or the user, already capped and scrubbed."""
    exit_code: int | None = None
    error: str | None = None
    """Short reason when not ok."""
    error_kind: str = ""
    """Name of the error class in contracts.errors when one caused it: an InfrastructureError
    (WorkspaceUnwritable, SandboxUnavailable) will not go away by calling again."""
    denied_by: str | None = None
    """Rule that refused the call, when the gate did."""
    reads: tuple[FileDigest, ...] = ()
    """Project files the call read, as they were before it."""
    writes: tuple[FileDigest, ...] = ()
    """Project files the call changed, as they are after it."""
    ran: dict[str, Any] | None = None
    """The arguments it ran with, where a hook changed them; None: those it was asked for."""
    told: tuple[str, ...] = ()
    """Digests of what hooks told the model with it, and traces depend on."""
    duration_ms: float = 0.0
    truncated: bool = False
    tainted: bool = False
    """Holds content from outside; the gate sets it for tools that are ``from_outside``."""
    tainted_file: str = ""
    """A published file that holds content from outside and that the call read, in words; the gate
    sets it. Empty: none that is known."""
