"""Feedback: a person's word on whether a goal was done as it was meant."""

from __future__ import annotations

from enum import StrEnum

from llmos_workers.contracts.base import Record


class Verdict(StrEnum):
    """What a person says of a goal."""

    GOOD = "good"
    """Done as meant: its wording may follow the trace it followed."""
    BAD = "bad"
    """Not what was meant: its wording never follows that trace again."""


class Feedback(Record):
    """What was said of a goal, and what came of it."""

    goal_id: str
    verdict: Verdict
    why: str = ""
    by: str = ""
    at: float = 0.0
    """Unix seconds."""
    applied: bool = False
    """Whether a worker has taken it up."""
    told: str = ""
    """What the worker did with it, in words."""
