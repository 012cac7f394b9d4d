"""How a run ends before its goal is done, as an outcome tells it."""

from __future__ import annotations

from llmos_workers.contracts.errors import LLMOSError, WorkspaceUnwritable
from llmos_workers.contracts.outcome import ErrorInfo
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.recording import summarize


def describe(error: LLMOSError) -> ErrorInfo:
    """An error as an outcome tells it."""
    return ErrorInfo(kind=type(error).__name__, message=error.message, fix=error.fix)


def hopeless_result(result: ToolResult) -> ErrorInfo | None:
    """Why no further call can help after this one; None when it can."""
    if result.error_kind != WorkspaceUnwritable.__name__:
        return None
    return ErrorInfo(
        kind=result.error_kind,
        message=result.error or "the workspace cannot be written.",
        fix="Make the workspace writable and give it room, then submit again.",
    )


def in_circles(call: ToolCall) -> ErrorInfo:
    """The model insists on a call that was refused as a loop."""
    return ErrorInfo(
        kind="Loop",
        message=f"the model made the same call again and again: {call.name}, {summarize(call)}.",
        fix="Reword the goal, or say what to do when this call gives what it gives.",
    )


def turn_limit(turns: int) -> ErrorInfo:
    """The turns are used up."""
    return ErrorInfo(
        kind="TurnLimit",
        message=f"the goal was not finished within {turns} turns.",
        fix="Raise sdk.max_turns or the agent's max_turns, or split the goal.",
    )
