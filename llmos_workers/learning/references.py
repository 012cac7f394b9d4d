"""Which values in a run's calls are those of earlier results. Pure.

A command that says a hash, a path or a date, and a later call with that very word in it: the
word is a *reference* to what the command says, not a constant. That is claimed only where
nothing else can hang on the value: the output is that one word and nothing more, the goal does
not say it, and no part of it stands anywhere else in what was written after it. Everywhere else
an output that differs ends the replay.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmos_workers.contracts.trace import Reference, TraceStep
from llmos_workers.execution.references import handle
from llmos_workers.learning.matching.arguments import delimited, is_content, leaves

PART = 4
"""As many characters in a row of a value count as a part of it."""


def with_references(
    goal: str, steps: Sequence[TraceStep], beside: Sequence[TraceStep] = ()
) -> list[TraceStep]:
    """The steps, each with the references that its arguments hold. What calls ``beside`` them hold
    is taken as it was.
    """
    found: dict[int, list[Reference]] = {}
    said = [str(leaf).lower() for step in beside for _, leaf in leaves(step.call.arguments)]
    for source, step in enumerate(steps):
        value = handle(step.output)
        if value is None or not step.informative or _known_before(value, goal, steps[: source + 1]):
            continue
        if any(value.lower() in text for text in said):
            continue
        for at, places in _uses(value, source, steps).items():
            found.setdefault(at, []).extend(places)
    return [
        step.model_copy(update={"references": tuple(found[at])}) if at in found else step
        for at, step in enumerate(steps)
    ]


def _known_before(value: str, goal: str, steps: Sequence[TraceStep]) -> bool:
    texts = [goal, *(str(leaf) for step in steps for _, leaf in leaves(step.call.arguments))]
    return any(value in text for text in texts)


def _uses(value: str, source: int, steps: Sequence[TraceStep]) -> dict[int, list[Reference]]:
    """Where later calls hold the value; nothing when a part of it stands anywhere else."""
    low = value.lower()
    pieces = {low[at : at + PART] for at in range(len(low) - PART + 1)}
    found: dict[int, list[Reference]] = {}
    for at in range(source + 1, len(steps)):
        for path, leaf in leaves(steps[at].call.arguments):
            if not isinstance(leaf, str):
                continue
            rest, count = delimited(value).subn("", leaf)
            if any(piece in rest.lower() for piece in pieces):
                return {}
            if not count:
                continue
            if is_content(path, leaf) or steps[at].turn <= steps[source].turn:
                return {}
            found.setdefault(at, []).append(Reference(source=source, argument=path, value=value))
    return found
