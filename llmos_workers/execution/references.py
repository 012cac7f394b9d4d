"""Arguments that hold what an earlier step said: put in anew when the steps run again. Pure.

Only single words of harmless characters are ever put into a call, in the place of such a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from llmos_workers.contracts.base import Json
from llmos_workers.contracts.tools import ToolResult
from llmos_workers.contracts.trace import TraceStep

_HANDLE = re.compile(r"(?=.*\d)(?=.*[A-Za-z/_.:-])[A-Za-z0-9][A-Za-z0-9_.:/@+-]{5,199}")
"""A word that stands for something, as no word of a sentence and no plain number does."""


def handle(output: str) -> str | None:
    """The one word that an output consists of; None when it is anything else."""
    text = output.strip()
    return text if _HANDLE.fullmatch(text) else None


def refers_to(steps: Sequence[TraceStep], source: int) -> bool:
    """Whether what later steps took from a step's output, they took by reference."""
    return any(ref.source == source for step in steps[source + 1 :] for ref in step.references)


def resolved(step: TraceStep, results: Sequence[ToolResult]) -> TraceStep:
    """The step with what its sources say now. A source that no longer says one word of its kind
    leaves the recorded value, and is for the replay to refuse.
    """
    if not step.references:
        return step
    arguments: Any = step.call.arguments
    for ref in step.references:
        now = handle(results[ref.source].output) if ref.source < len(results) else None
        if now is not None and now != ref.value:
            arguments = _replaced(arguments, ref.argument, ref.value, now)
    if arguments == step.call.arguments:
        return step
    call = step.call.model_copy(update={"arguments": arguments})
    return step.model_copy(update={"call": call})


def _replaced(value: Json, path: Sequence[str | int], old: str, new: str) -> Json:
    if not path:
        return alone(old).sub(lambda _: new, value) if isinstance(value, str) else value
    put: Callable[[Json], Json] = lambda item: _replaced(item, path[1:], old, new)  # noqa: E731
    if isinstance(value, dict):
        return {k: put(item) if k == path[0] else item for k, item in value.items()}
    if isinstance(value, list | tuple):
        return [put(item) if at == path[0] else item for at, item in enumerate(value)]
    return value


def alone(value: str) -> re.Pattern[str]:
    """Matches a value that stands by itself."""
    return re.compile(rf"(?<![A-Za-z0-9.]){re.escape(value)}(?![A-Za-z0-9]|\.\d)", re.IGNORECASE)
