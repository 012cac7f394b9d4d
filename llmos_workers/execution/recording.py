"""Turning a call and its result into a trace step. The agent loop and the replay share it,
so that what was recorded and what is compared are digested alike.
"""

from __future__ import annotations

import hashlib
import re

from llmos_workers.contracts.outcome import ToolCallSummary
from llmos_workers.contracts.tools import ToolCall, ToolResult, ToolSpec
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.kernel.redact import redact
from llmos_workers.kernel.shorten import READ_CHARS

MAX_STORED_OUTPUT = 8_192
"""Characters of a result kept in a step; its digest covers all of it."""


def record_step(spec: ToolSpec | None, call: ToolCall, result: ToolResult, turn: int) -> TraceStep:
    """The step of one call, as it ran; ``spec`` is None when no tool of that name exists."""
    return TraceStep(
        call=ToolCall(
            name=call.name, arguments=call.arguments if result.ran is None else result.ran
        ),
        turn=turn,
        tool_version=spec.version if spec else "",
        ok=result.ok,
        exit_code=result.exit_code,
        output=failure_text(result),
        output_digest=output_digest(result.output),
        informative=spec.informative if spec else True,
        reads=result.reads,
        writes=result.writes,
        duration_ms=result.duration_ms,
    )


def failure_text(result: ToolResult) -> str:
    """What a step keeps of a result's words: its output, or why there is none."""
    return (result.output or result.error or "")[:MAX_STORED_OUTPUT]


_CLOCK = re.compile(
    r"\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
    r"|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +)?"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +\d{1,2}\b"
    r"|\b\d+(?:\.\d+)? ?(?:s|ms|us|µs|ns|secs?|seconds?|minutes?)\b"
)
"""What of an output says when it was made, or how long that took."""


def steady_digest(output: str) -> str:
    """As output_digest, and blind to times, dates and durations."""
    return output_digest(_CLOCK.sub("_", output))


def output_digest(output: str) -> str:
    """sha256 of a result's text, blind to trailing space."""
    lines = [line.rstrip() for line in output.strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def summarize(call: ToolCall, limit: int = 100) -> str:
    """A call in one short line for people: its most telling argument, no bulk, no secrets."""
    for key in ("command", "path", "pattern", "url"):
        value = call.arguments.get(key)
        if isinstance(value, str):
            line = " ".join(redact(value[:READ_CHARS]).split())
            return line if len(line) <= limit else line[: limit - 1] + "…"
    return ", ".join(sorted(call.arguments))[:limit]


def step_summary(step: TraceStep) -> ToolCallSummary:
    """A step as an outcome lists it."""
    return ToolCallSummary(
        name=step.call.name,
        summary=summarize(step.call),
        ok=step.ok,
        exit_code=step.exit_code,
        duration_ms=round(step.duration_ms, 3),
    )
