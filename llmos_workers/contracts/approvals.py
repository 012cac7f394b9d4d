"""An approval: a person's yes or no to exactly one tool call of one goal."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Record


class ApprovalState(StrEnum):
    """How far a request for approval is."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    """For good: the same call of the same goal is not asked about again."""
    EXPIRED = "expired"
    """Nobody answered in time, the yes was not used in time, or the goal ended first."""
    USED = "used"
    """The call was let through, once."""


RAISE_LIMIT = "RaiseLimit"
"""What a request to raise a budget's limit has as its tool; no tool has this name."""


class LimitRaise(Record):
    """By how much a yes raises which limit of money."""

    scope: str
    """``global``, ``project:NAME`` or ``goal:ID``."""
    window: str = ""
    """day or month: the limit of each of them; empty: that of the lifetime."""
    micro: int = Field(gt=0)
    """Micro-dollars."""
    needed_micro: int = Field(default=0, ge=0)
    """What the call needs in all: the question is over when that fits; 0: not known."""


class Approval(Record):
    """A request for approval and what became of it. Times are Unix seconds."""

    approval_id: str
    goal_id: str
    project: str
    tool: str
    digest: str
    """ToolCall.digest() of the call that was shown; nothing else may run under it."""
    shown: str
    """The call for people: nothing invisible, no secrets, long values by head, tail, digest."""
    step: int = Field(default=0, ge=0)
    """Position of the call in its run."""
    rule: str = ""
    """What demanded the approval."""
    reason: str = ""
    raise_scope: str = ""
    """What a yes raises, at once and once, see LimitRaise; empty: nothing."""
    raise_window: str = ""
    raise_micro: int = 0
    raise_needed_micro: int = 0
    state: ApprovalState = ApprovalState.PENDING
    created_at: float
    expires_at: float
    decided_at: float | None = None
    decided_by: str = ""
    """As the approver named themselves; llmos knows users of the machine, not persons."""
    why: str = ""
    used_at: float | None = None

    @property
    def unanswered(self) -> bool:
        """Whether it expired before anybody said yes or no."""
        return self.state is ApprovalState.EXPIRED and self.decided_at is None
