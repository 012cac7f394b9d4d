"""How dispatch decided: the candidates it saw, and the mode it chose, in words."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Micro, Record
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Usage


class MatchCandidate(Record):
    """One trace that was held against the goal."""

    trace_id: str
    goal_text: str
    stage: str
    """Which stage produced it: exact, alias, template, structure; judged: a judge vouches."""
    confidence: float = Field(ge=0, le=1)
    """Estimate of P(replaying this trace with these slots does what the goal asks)."""
    relatedness: float = Field(default=0.0, ge=-1, le=1)
    """Cosine of the embeddings; says whether the trace helps, not whether it fits."""
    slots: dict[str, str] = Field(default_factory=dict)
    wording: str = ""
    """The goal with the recorded values put back, where its own are meant for slots but structure
    cannot vouch for the rest."""
    agreed: tuple[str, ...] = ()
    differed: tuple[str, ...] = ()
    helps: bool = True
    """False: what was done then would mislead (another language, format or direction)."""
    mismatch: bool = False
    """Structure is certain that it is another job: nobody needs to judge it."""
    blockers: tuple[str, ...] = ()
    """Why the trace may not be followed although it matches (changed input, tool, unproved)."""


class MatchResult(Record):
    """What the matcher says about a goal: candidates, best first."""

    candidates: tuple[MatchCandidate, ...] = ()
    relatedness: float = 0.0
    """Largest cosine over all references seen."""

    @property
    def best(self) -> MatchCandidate | None:
        """The candidate with the highest confidence, or None."""
        return self.candidates[0] if self.candidates else None


class Judged(Record):
    """What a judge, a small model, said of one goal and one trace."""

    trace_id: str
    judge: str
    """Backend and model, as ``llmos judge stats`` counts it."""
    answer: str
    """yes, no or unsure."""
    reasons: tuple[str, ...] = ()
    """What the judge said of the differences that matter."""
    trusted: bool = False
    """Whether the judge's record allows to follow it at once; else the run is on probation."""
    calls: int = Field(default=0, ge=0)
    """Model calls that this goal made for it; 0: the verdict was known."""
    cost_micro: Micro = 0
    usage: Usage = Field(default_factory=Usage)


class ModeDecision(Record):
    """The mode a goal runs in, and why."""

    mode: Mode
    reason: str
    confidence: float = Field(default=0.0, ge=0, le=1)
    threshold: float = Field(default=0.92, ge=0, le=1)
    trace_id: str | None = None
    trace_version: int | None = None
    slots: dict[str, str] = Field(default_factory=dict)
    tool: str | None = None
    """The generated tool that does the goal (CRYSTALLIZED)."""
    generalized: bool = False
    """The tool does it with values that none of its traces has; ``slots`` are its arguments."""
    strategy: str = "auto"
    estimated_micro: Micro = 0
    """Upper estimate of the cost in micro-dollars; 0 for modes without a model."""
    to_judge: str | None = None
    """Trace that a judge is to be asked about before the goal is done in this mode."""
    judged: Judged | None = None
    match: MatchResult = Field(default_factory=MatchResult)
