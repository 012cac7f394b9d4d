"""Traces that nobody vouches for: they are neither followed nor shown to a model. Pure.

A planted or edited file could be made to match anything, and what it says would reach the
model's prompt; so it is set aside until a person approves it, with the reason in the decision.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmos_workers.contracts.decision import MatchCandidate, MatchResult
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.trace_seal import objection


def without_unapproved(match: MatchResult, known: Mapping[str, ExecutionTrace]) -> MatchResult:
    """The match with all confidence taken from candidates that are not signed."""
    candidates = [_weighed(candidate, known) for candidate in match.candidates]
    candidates.sort(key=lambda c: c.confidence == 0)  # stable: what is set aside comes last
    return match.model_copy(update={"candidates": tuple(candidates)})


def _weighed(candidate: MatchCandidate, known: Mapping[str, ExecutionTrace]) -> MatchCandidate:
    trace = known.get(candidate.trace_id)
    why = objection(trace) if trace else ""
    if not why:
        return candidate
    blockers = (why, *candidate.blockers)
    return candidate.model_copy(update={"confidence": 0.0, "helps": False, "blockers": blockers})
