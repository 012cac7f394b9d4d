"""Feedback at work: what a person's word on a goal does to the trace that did it.

Bad: the goal's wording never follows that trace again, and the trace is trusted less. Good: the
wording is known from now on, and the trace is trusted more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import MatchCandidate, ModeDecision
from llmos_workers.contracts.errors import GoalNotFound
from llmos_workers.contracts.feedback import Feedback, Verdict
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import REPLAYS
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.signature import goal_signature

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


def apply_feedback(runtime: Runtime, feedback: Feedback) -> str:
    """Act on one person's word; what was done, in words. Doing it again changes nothing more."""
    try:
        record = runtime.goals.get(feedback.goal_id)
    except GoalNotFound:
        return "the goal is past its retention: nothing was changed"
    good = feedback.verdict is Verdict.GOOD
    kind = TriggerType.USER_FEEDBACK_POSITIVE if good else TriggerType.USER_FEEDBACK_NEGATIVE
    done = _good(runtime, record) if good else _bad(runtime, record)
    runtime.feel(kind, feedback.why or "a user's word", project=record.project)
    runtime.notice(record.goal_id, f"feedback {feedback.verdict} by {feedback.by}: {done}")
    return done


def drain_feedback(runtime: Runtime) -> str:
    """Act on what no worker took up yet."""
    return f"{runtime.feedback.drain(lambda one: apply_feedback(runtime, one))} taken up"


def _bad(runtime: Runtime, record: GoalRecord) -> str:
    trace, candidate = _followed(runtime, record)
    if trace is None:
        return "it followed no trace that is still there: nothing was changed"
    runtime.traces.add_veto(record.project, trace.trace_id, record.text)
    _weigh(runtime, record, trace, candidate, right=False)
    return f"this wording never follows trace {trace.trace_id} again, and the trace counts for less"


def _good(runtime: Runtime, record: GoalRecord) -> str:
    trace, candidate = _followed(runtime, record)
    if trace is None:
        return "it followed no trace that is still there: nothing was changed"
    _weigh(runtime, record, trace, candidate, right=True)
    decision = record.decision
    recorded = {slot.name: slot.value for slot in trace.slots}
    # An alias replays the recorded values: right only for a goal that has the same ones.
    if decision is None or decision.mode.calls_model or decision.slots != recorded:
        return f"trace {trace.trace_id} counts for more"
    if runtime.traces.add_alias(record.project, trace.trace_id, record.text):
        return f"this wording follows trace {trace.trace_id} from now on, which counts for more"
    return f"trace {trace.trace_id} counts for more; its wording was known, or vetoed before"


def _followed(
    runtime: Runtime, record: GoalRecord
) -> tuple[ExecutionTrace | None, MatchCandidate | None]:
    """The trace that answers for the goal: the one it followed, or the one learned from it."""
    outcome, decision = record.outcome, record.decision
    if outcome is None or decision is None:
        return None, None
    if not _replayed(outcome, decision):
        learned = outcome.learned_trace_id
        return (runtime.traces.get(record.project, learned) if learned else None), None
    trace = runtime.traces.get(record.project, decision.trace_id or "")
    found = (c for c in decision.match.candidates if c.trace_id == decision.trace_id)
    return trace, next(found, None)


def _replayed(outcome: Outcome, decision: ModeDecision) -> bool:
    """Whether it followed a trace: its calls, or the plan that it holds."""
    known_plan = outcome.plan is not None and outcome.plan.source == decision.trace_id
    return outcome.mode in REPLAYS or known_plan


def _weigh(
    runtime: Runtime,
    record: GoalRecord,
    trace: ExecutionTrace,
    candidate: MatchCandidate | None,
    *,
    right: bool,
) -> None:
    runtime.verdicts.label(trace, goal_signature(record.text), right=right)
    runtime.traces.add_evidence(
        record.project,
        trace.trace_id,
        stage=candidate.stage if candidate else "exact",
        confidence=candidate.confidence if candidate else 1.0,
        right=right,
        outcome_id=record.goal_id,
    )
