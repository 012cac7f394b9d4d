"""An execution trace: the recorded, replayable way to a goal."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Micro, Record
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import FileDigest, Usage
from llmos_workers.contracts.tools import ToolCall

TRACE_FORMAT = 2
"""Of the file. 1: with counters in the front matter; 2: without, so that use does not change it."""


class SlotType(StrEnum):
    """What kind of value a slot holds; a new value must be of the same kind."""

    TEXT = "text"
    NUMBER = "number"
    PATH = "path"
    URL = "url"
    DATE = "date"
    NAME = "name"


class Standing(StrEnum):
    """What the signature of a trace is worth here. Only signed traces are followed or help."""

    SIGNED = "signed"
    """By a trusted key, and of exactly this content: llmos wrote it, or a person approved it."""
    UNSIGNED = "unsigned"
    EDITED = "edited"
    """The content is not what was signed."""
    UNKNOWN_KEY = "unknown key"
    NEWER = "newer"
    """Signed, but a newer release wrote it, with more than this one understands."""
    UNCHECKED = "unchecked"
    """Nobody looked: it does not come from TraceManager."""


class Slot(Record):
    """A value of the goal that reappears in the recorded arguments."""

    name: str
    type: SlotType = SlotType.TEXT
    value: str
    """The value in the learning run, as it stands in the goal."""
    declared: bool = False
    """Whether the learner named it; only declared slots may vary inside generated content."""


class Reference(Record):
    """A value in a step's arguments that an earlier step said: it is taken from there again."""

    source: int = Field(ge=0)
    """Position of the step whose whole output it was."""
    argument: tuple[str | int, ...]
    """The way to the argument that holds it."""
    value: str
    """What it was in the learning run."""


class TraceStep(Record):
    """One recorded call, with what must hold when it is replayed."""

    call: ToolCall
    turn: int = Field(default=0, ge=0)
    """The model turn that made the call; calls of one turn did not see each other's results."""
    tool_version: str = ""
    ok: bool = True
    exit_code: int | None = None
    output: str = ""
    """The result's text, capped."""
    output_digest: str = ""
    """sha256 of the uncapped, normalized output."""
    informative: bool = False
    said: str = ""
    """Of an output after which the model made no call: what a replay's has to be like, times aside
    (execution.recording.steady_digest); "" where it is another one each time."""
    references: tuple[Reference, ...] = ()
    """Values of earlier results among the arguments."""
    reads: tuple[FileDigest, ...] = ()
    writes: tuple[FileDigest, ...] = ()
    duration_ms: float = 0.0


class Check(Record):
    """A call of the learning run that failed and changed nothing.

    What was written after it rests on that: a replay makes it again in its place, and it has to
    fail as it did.
    """

    at: int = Field(ge=0)
    """How many of the trace's steps came before it."""
    step: TraceStep


class TraceCounters(Record):
    """What is counted of a trace's use: kept apart in Redis, written into a file of its own now and
    then, never signed.
    """

    usage_count: int = Field(default=0, ge=0)
    success_count: int = Field(default=0, ge=0)
    failure_streak: int = Field(default=0, ge=0)
    total_cost_micro: Micro = 0
    total_saved_micro: Micro = 0
    avg_latency_ms: float = 0.0
    last_used: str = ""
    evidence: dict[str, int] = Field(default_factory=dict)
    """Labelled outcomes of following it; names as learning.posterior makes them."""


class ExecutionTrace(TraceCounters):
    """The signed content of a trace plus counters that are merged in when it is read.

    Identity is ``(project, trace_id, version)``; ``trace_id`` equals ``goal_signature`` of the
    goal it was learned from.
    """

    format: int = TRACE_FORMAT
    trace_id: str
    project: str = "default"
    version: int = Field(default=1, ge=1)
    revision: int = Field(default=0, ge=0)
    """Grows with every write of the record, aliases and counters included: of two copies the
    one with the higher revision is newer. Not part of what is signed."""
    goal_signature: str
    """16 hex digits of the normalized goal."""
    goal_text: str
    aliases: tuple[str, ...] = ()
    """Other wordings known to mean the same goal."""
    vetoes: tuple[str, ...] = ()
    """Signatures of goals that must never follow this trace."""
    slots: tuple[Slot, ...] = ()
    steps: tuple[TraceStep, ...] = ()
    checks: tuple[Check, ...] = ()
    """Calls that failed and that the model went on from, in order."""
    fixed: tuple[Slot, ...] = ()
    """Values that looked like slots, until another value in their place did not reach all that
    depends on them: they may not vary."""
    hidden: tuple[str, ...] = ()
    """Values of the calls that the goal does not say but depends on: only its very wording is
    followed."""
    inputs: tuple[FileDigest, ...] = ()
    """Files the run depended on, as they were before it. A path that ends with a slash is a
    folder's listing: the names in it, without the trace's own outputs."""
    ignored_inputs: tuple[str, ...] = ()
    """Files that its commands read or name and whose content changes nothing."""
    premises: tuple[str, ...] = ()
    """What hooks told the model before it began, as ``hook@digest``: followed only while they tell
    it still. And which notes of llmos's own were told, as ``memory:path@digest``: only while they
    stand as they were."""
    outputs: tuple[FileDigest, ...] = ()
    """Files the run left changed, as they were after it."""
    answer: str = ""
    """The learner's final text."""
    agent: str = "system-agent"
    agent_digest: str = ""
    """Of what that agent was told to be; "" unknown. See flow.followed.agent_digest."""
    mode: Mode = Mode.LEARNER
    created_at: str = ""
    """ISO 8601, UTC."""
    learned_from: str = ""
    """Goal id of the learning run."""
    model: str = ""
    learn_cost_micro: Micro = 0
    learn_usage: Usage = Field(default_factory=Usage)
    learn_duration_s: float = 0.0
    proved: bool = True
    """False: helps as MIXED, is not followed."""
    proved_by: str = ""
    """How it was proved: ``replay`` in a scratch copy of the project as it was before the run,
    ``supervised`` by a model's run that made the same calls; empty when it was not."""
    destructive: bool = False
    tainted: bool = False
    output_summary: str = ""
    error_notes: str = ""
    crystallized_into_tool: str | None = None
    pinned: bool = False
    """Kept as it is: no run replaces it by a new version."""
    approved_by: str = ""
    """Who approved content that llmos did not write itself; "" when it did."""
    imported_from: str = ""
    """Id of the key that signed the pack it came in."""

    signature: str = ""
    """Of everything above but format, revision and goal_signature; see learning/trace_seal."""
    standing: Standing = Field(default=Standing.UNCHECKED, exclude=True)
    """Found when it is read, never stored."""

    @property
    def is_plan(self) -> bool:
        """Whether its steps are sub-goals (learning.plan_trace), and no calls of tools."""
        return self.mode is Mode.ORCHESTRATOR

    @property
    def success_rating(self) -> float:
        """Share of successful uses; 1.0 before the first reuse."""
        return self.success_count / self.usage_count if self.usage_count else 1.0

    @property
    def tools_used(self) -> tuple[str, ...]:
        """Names of the tools, in order of first use."""
        return tuple(dict.fromkeys(step.call.name for step in self.steps))
