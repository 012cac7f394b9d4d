"""Calls that failed and that the model went on from: what a replay has to find failing still. Pure.

Such a call told the model something, and nobody knows what it depended on: a file that was not
there, the clock, a program, a page. So it is no step of the trace, and yet made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmos_workers.contracts.tools import CONFINED_TOOLS, Effect, ToolCall, ToolSpec
from llmos_workers.contracts.trace import Check, ExecutionTrace, TraceStep
from llmos_workers.learning.dependence import READING_TOOLS, dropped_steps, succeeded


def checks_of(transcript: Sequence[TraceStep], kept: Sequence[TraceStep]) -> tuple[Check, ...]:
    """The failed calls of a run between the steps that its trace keeps of it.

    Not those that changed files: they are no part of a trace that is followed. Nor readings of a
    file that was not there, which is an input as such.
    """
    dropped = dropped_steps(transcript, kept)
    return tuple(
        Check(at=at - number, step=step.model_copy(update={"call": _plain(step)}))
        for number, at in enumerate(dropped)
        for step in (transcript[at],)
        if not succeeded(step) and not step.writes and not _is_input(step)
    )


def doubts_about(
    checks: Sequence[Check], tools: Mapping[str, ToolSpec], *, reached: bool
) -> list[str]:
    """Why failed calls cannot be made again to see whether they fail still; empty: they can."""
    for check in checks:
        name = check.step.call.name
        spec = tools.get(name)
        outside = spec is None or (spec.effect is Effect.EXTERNAL and name not in CONFINED_TOOLS)
        if outside or (reached and name in CONFINED_TOOLS):
            return [f"it rests on a call of {name} that failed and cannot be tried again"]
    return []


def unseen_failures(known: ExecutionTrace, done: ExecutionTrace) -> bool:
    """Whether a run went on from failures that a known trace does not look at."""
    seen = {(check.at, check.step.call.digest()) for check in known.checks}
    missed = {file.path for file in known.inputs}
    return any((c.at, c.step.call.digest()) not in seen for c in done.checks) or any(
        file.digest is None and file.path not in missed for file in done.inputs
    )


def _plain(step: TraceStep) -> ToolCall:
    """The call without the model's id, which means nothing in a replay."""
    return step.call.model_copy(update={"call_id": ""})


def _is_input(step: TraceStep) -> bool:
    return step.call.name in READING_TOOLS and any(file.digest is None for file in step.reads)
