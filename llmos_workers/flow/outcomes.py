"""Making outcomes: the one place that turns the end of a run into what users see. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import LLMOSError, Refused, UsageError
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import ErrorInfo, FileDigest, Outcome, ToolCallSummary, Usage
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.recording import step_summary


def error_info(error: LLMOSError) -> ErrorInfo:
    """An error in words, for an outcome."""
    return ErrorInfo(kind=type(error).__name__, message=error.message, fix=error.fix)


def failed_state(error: LLMOSError) -> GoalState:
    """REJECTED when a rule or the request itself forbade the goal, FAILED otherwise."""
    return GoalState.REJECTED if isinstance(error, Refused | UsageError) else GoalState.FAILED


def make_outcome(
    record: GoalRecord,
    status: GoalState,
    *,
    now: float,
    decision: ModeDecision | None = None,
    text: str = "",
    steps: Iterable[TraceStep] = (),
    published: bool = True,
    usage: Usage | None = None,
    llm_calls: int = 0,
    cost_micro: int = 0,
    saved_micro: int = 0,
    replayed_from: str | None = None,
    learned_trace_id: str | None = None,
    error: ErrorInfo | None = None,
) -> Outcome:
    """The outcome of ``record`` at Unix time ``now``. What was not published is in no file."""
    steps = tuple(steps)
    decision = decision or record.decision
    judged = decision.judged if decision else None
    return Outcome(
        goal_id=record.goal_id,
        status=status.value,
        project=record.project,
        mode=decision.mode if decision else None,
        reason=decision.reason if decision else "",
        confidence=decision.confidence if decision else 0.0,
        trace_id=decision.trace_id if decision else None,
        trace_version=decision.trace_version if decision else None,
        learned_trace_id=learned_trace_id,
        slots=decision.slots if decision else {},
        tool=decision.tool if decision else None,
        text=text,
        replayed_from=replayed_from,
        files=files_written(steps) if published else (),
        tool_calls=tuple(_summaries(steps)),
        llm_calls=llm_calls + (judged.calls if judged else 0),
        usage=(usage or Usage()) + (judged.usage if judged else Usage()),
        cost_micro=cost_micro,
        saved_micro=saved_micro,
        duration_s=max(0.0, round(now - record.created_at, 6)),
        error=error,
    )


def _summaries(steps: tuple[TraceStep, ...]) -> list[ToolCallSummary]:
    return [step_summary(step) for step in steps]


def files_written(steps: Iterable[TraceStep]) -> tuple[FileDigest, ...]:
    """The last state of every file that the steps changed, by path."""
    last: dict[str, FileDigest] = {}
    for step in steps:
        for written in step.writes:
            last[written.path] = written
    return tuple(last[path] for path in sorted(last))
