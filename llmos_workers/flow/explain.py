"""What is behind a decision: each candidate with all that speaks for and against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.decision import MatchCandidate, ModeDecision
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.flow.followed import blockers_now
from llmos_workers.learning.posterior import own_threshold, standing
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.verdicts import StoredVerdict

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


def explained(runtime: Runtime, record: GoalRecord, decision: ModeDecision) -> list[dict[str, Any]]:
    """The decision's candidates, best first, as JSON: what the matcher says of each, its own
    threshold with the outcomes it rests on, what stands against a replay here and now, and what
    a judge said of it.
    """
    return [_explain(runtime, record, c) for c in decision.match.candidates]


def _explain(runtime: Runtime, record: GoalRecord, candidate: MatchCandidate) -> dict[str, Any]:
    told: dict[str, Any] = candidate.model_dump(mode="json")
    trace = runtime.traces.get(record.project, candidate.trace_id)
    if trace is None:
        return told | {"against": ["its trace is gone"]}
    config = runtime.config.dispatcher
    own = own_threshold(trace.evidence, config.follower_threshold, config.max_replay_error)
    against = blockers_now(runtime, record, trace, candidate.slots, stage=candidate.stage)
    verdict = runtime.verdicts.get(trace, goal_signature(record.text), candidate.slots)
    return told | {
        "standing": round(standing(candidate.stage, candidate.confidence), 4),
        "threshold": round(own.value, 4),
        "outcomes": {"right": own.right, "wrong": own.wrong, "error": round(own.error, 5)},
        "against": list(dict.fromkeys((*candidate.blockers, *against))),
        "verdict": _told(verdict) if verdict else None,
    }


def _told(verdict: StoredVerdict) -> dict[str, Any]:
    return verdict.model_dump(mode="json", exclude={"calls", "goal"})
