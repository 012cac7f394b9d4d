"""What is remembered beside traces: sessions (L2), facts and insights (L4)."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Contract, Micro


class SessionStep(Contract):
    """One tool call of a session."""

    tool: str
    summary: str
    """The telling argument, on one short line."""
    shape: str = ""
    """Tool and arguments without their values: what calls that do the same kind of thing share."""
    ok: bool = True
    error: str = ""
    """Why it failed, cut short."""


class Session(Contract):
    """How one goal went: what a person, or a model, reads to learn from it."""

    goal_id: str
    project: str
    at: str
    """When it ended, ISO 8601."""
    status: str
    goal: str
    mode: str = ""
    agent: str = ""
    trace_id: str | None = None
    """The trace that it followed, that helped it, or that it became."""
    learned: bool = False
    """Whether it became that trace."""
    tainted: bool = False
    """It held the words of others."""
    cost_micro: Micro = 0
    llm_calls: int = Field(default=0, ge=0)
    steps: tuple[SessionStep, ...] = ()
    error: str = ""
    answer: str = ""

    @property
    def ok(self) -> bool:
        """Whether the goal succeeded in full."""
        return self.status == "SUCCEEDED"

    @property
    def pattern(self) -> tuple[str, ...]:
        """The shapes of its successful calls, in order."""
        return tuple(step.shape for step in self.steps if step.ok and step.shape)


class NoteKind(StrEnum):
    """What an extracted note is about. FACT goes to facts/, the others to insights/."""

    FACT = "fact"
    """Something that holds in a project: where things are, which units are used."""
    CONVENTION = "convention"
    """How things are done there."""
    FAILURE = "failure"
    """What failed, and why."""
    PATTERN = "pattern"
    """What keeps coming back, in one project or in several."""


class Level(StrEnum):
    """The levels of memory that can be searched; L1 is a model's own context."""

    SESSIONS = "sessions"
    TRACES = "traces"
    NOTES = "notes"


class MemoryHit(Contract):
    """One thing that a search of memory found."""

    level: Level
    name: str
    """What ``show`` takes: a goal id, a trace id, or the path of a note below memories/."""
    text: str
    """The beginning of it, in one line."""
    at: str = ""
    score: float = 0.0
    tainted: bool = False
