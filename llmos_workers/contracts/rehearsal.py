"""How the scripted rehearsal model says that it could not do a job.

The Messages API has no field for it, so the final text starts with one of these prefixes.
An agent loop that meets one ends the goal FAILED with that text.
"""

from __future__ import annotations

NO_SKILL_PREFIX = "REHEARSAL_NO_SKILL:"
"""No scripted job family knows this goal, or a tool the family needs was not offered."""

FAILED_PREFIX = "REHEARSAL_FAILED:"
"""A tool call of the script failed, so the script stopped."""

FAILURE_PREFIXES = (NO_SKILL_PREFIX, FAILED_PREFIX)

JUDGE_MARKER = "llmos-judge/1"
"""Stands in the system prompt of a judge's question."""

PLAN_MARKER = "llmos-plan/1"
"""Stands in the system prompt of a planner's question."""

SUMMARY_MARKER = "llmos-plan-summary/1"
REVIEW_MARKER = "llmos-plan-review/1"
INSIGHTS_MARKER = "llmos-insights/1"
"""Stands in the system prompt of a request for insights from sessions."""

TOOLSMITH_MARKER = "llmos-toolsmith/1"
"""Stands in the system prompt of a request for one tool of several traces."""

SIGNATURE = "(Scripted rehearsal model, not an LLM.)"
"""Last line of every final text of the rehearsal model."""


def is_rehearsal_failure(text: str) -> bool:
    """Whether a final text is the rehearsal model's way to say that the job was not done."""
    return text.lstrip().startswith(FAILURE_PREFIXES)
