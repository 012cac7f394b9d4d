"""How dispatch decided: the candidates it saw, and the mode it chose, in words."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Contract, Micro
from llmos_workers.contracts.modes import Mode


class MatchCandidate(Contract):
    """One trace that was held against the goal."""

    trace_id: str
    goal_text: str
    stage: str
    """Which stage produced it: exact, alias, template, structure."""
    confidence: float = Field(ge=0, le=1)
    """Estimate of P(replaying this trace with these slots does what the goal asks)."""
    relatedness: float = Field(default=0.0, ge=-1, le=1)
    """Cosine of the embeddings; says whether the trace helps, not whether it fits."""
    slots: dict[str, str] = Field(default_factory=dict)
    agreed: tuple[str, ...] = ()
    differed: tuple[str, ...] = ()
    helps: bool = True
    """False: what was done then would mislead (another language, format or direction)."""
    blockers: tuple[str, ...] = ()
    """Why the trace may not be followed although it matches (changed input, tool, unproved)."""


class MatchResult(Contract):
    """What the matcher says about a goal: candidates, best first."""

    candidates: tuple[MatchCandidate, ...] = ()
    relatedness: float = 0.0
    """Largest cosine over all references seen."""

    @property
    def best(self) -> MatchCandidate | None:
        """The candidate with the highest confidence, or None."""
        return self.candidates[0] if self.candidates else None


class ModeDecision(Contract):
    """The mode a goal runs in, and why."""

    mode: Mode
    reason: str
    confidence: float = Field(default=0.0, ge=0, le=1)
    threshold: float = Field(default=0.92, ge=0, le=1)
    trace_id: str | None = None
    trace_version: int | None = None
    slots: dict[str, str] = Field(default_factory=dict)
    strategy: str = "auto"
    estimated_micro: Micro = 0
    """Upper estimate of the cost in micro-dollars; 0 for modes without a model."""
    match: MatchResult = Field(default_factory=MatchResult)
