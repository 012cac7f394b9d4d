"""What a shadow audit found out about one replay."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Contract, Record


class AuditVerdict(Record):
    """One replayed goal, run again by a model in a stage of its own."""

    goal_id: str
    """The replayed goal."""
    audit_id: str
    """The goal that ran it again."""
    project: str = "default"
    goal_text: str
    trace_id: str
    trace_version: int | None = None
    stage: str = "exact"
    """How the match was found that the replay rested on."""
    confidence: float = Field(default=1.0, ge=0, le=1)
    agreement: str
    """agreed, unclear or disagreed."""
    why: tuple[str, ...] = ()
    at: float
    """Unix time in seconds."""


class AuditCounts(Contract):
    """Verdicts so far."""

    agreed: int = Field(default=0, ge=0)
    unclear: int = Field(default=0, ge=0)
    disagreed: int = Field(default=0, ge=0)

    @property
    def decided(self) -> int:
        """Audits that count."""
        return self.agreed + self.disagreed
