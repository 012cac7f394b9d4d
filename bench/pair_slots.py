"""The slots of a labelled pair's trace, and the values that a template pair changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_workers.contracts.trace import Slot
from llmos_workers.learning.matching.arguments import delimited
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.values import forms_of, whole_token

Pair = dict[str, Any]


def changed_values(pair: Pair) -> list[tuple[str, str]]:
    """(old, new) of a template pair; both notations of the data are read."""
    return [
        (value["old"], value["new"]) if isinstance(value, dict) else (name, value)
        for name, value in pair.get("slots", {}).items()
    ]


def slots_for(goal: str, values: Sequence[str]) -> tuple[Slot, ...]:
    """Declared slots for the values that occur in a goal; one inside another counts once."""
    taken: list[tuple[int, int]] = []
    found: list[Slot] = []
    for value in sorted(set(values), key=lambda v: (-len(v), v)):
        span = _span(goal, value)
        if span is None or any(lo < span[1] and span[0] < hi for lo, hi in taken):
            continue
        taken.append(span)
        said = goal[slice(*span)]
        text = said if equal(said, value) else value
        found.append(Slot(name=f"slot_{len(found) + 1}", value=text, declared=True))
    return tuple(found)


def _span(goal: str, value: str) -> tuple[int, int] | None:
    """Where a goal says a value, also in other words ("ten" for 10)."""
    match = delimited(value).search(goal)
    if match is not None:
        return match.span()
    wanted = whole_token(value)
    same = (t for t in parse(goal).said if wanted and t.kind is wanted.kind)
    token = next((t for t in same if wanted and t.value == wanted.value), None)
    return (token.start, token.end) if token else None


def equal(one: str, other: str) -> bool:
    """Whether two spellings are of one value."""
    return bool(
        {form.lower() for form in forms_of(one)} & {form.lower() for form in forms_of(other)}
    )
