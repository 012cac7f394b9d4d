"""Bind a trace's slots to a new goal: put the old values back, and see if it is the old goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.matching.arguments import names_program, places
from llmos_workers.learning.matching.claims import Claims
from llmos_workers.learning.matching.compare import MAX_TOKENS, Comparison, compare
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.novalue import permuted, refused
from llmos_workers.learning.matching.parse import parse, parse_beside
from llmos_workers.learning.matching.phrases import Change
from llmos_workers.learning.matching.values import forms_of, refuse_value

Judge = Callable[[str], Comparison]
"""Holds the goal with its old values put back against the reference."""


@dataclass(frozen=True, slots=True)
class Binding:
    """New values for all slots of a trace (unchanged ones included)."""

    slots: dict[str, str]
    confidence: float
    """P(same) of the new goal with the old values put back."""
    why: str
    """In words, for people."""
    restored: str
    """The new goal with the old values put back."""
    held: Comparison
    """What came of holding that against the reference."""


def bind(
    trace: ExecutionTrace,
    reference: str,
    query: str,
    embed: Callable[[str], Embedding],
    *,
    judge: Judge | None = None,
) -> Binding | None:
    """Values of the trace's slots in ``query``; None if it is not the reference with other
    values, if a value could not safely be put into the calls, or if nothing changed.
    """
    if not trace.slots:
        return None
    lex = lexicon()
    goal = parse(reference)
    other = parse_beside(query, goal)
    if max(len(goal.tokens), len(other.tokens)) > MAX_TOKENS:
        return None
    changes = Claims(trace, goal, other, lex).changes()
    if not changes or not _fits(changes, trace) or permuted(changes, goal, other):
        return None
    restored = query
    for change in sorted(changes, key=lambda c: -c.start):
        restored = restored[: change.start] + change.old + restored[change.end :]
    held = judge(restored) if judge else compare(reference, restored, embed)
    values = {slot.name: slot.value for slot in trace.slots}
    values |= {change.slot.name: change.new for change in changes}
    told = ", ".join(f"{c.slot.name} = {c.new!r} instead of {c.old!r}" for c in changes)
    return Binding(values, held.confidence, told, restored, held)


def _fits(changes: Sequence[Change], trace: ExecutionTrace) -> bool:
    """Whether each new value may stand in the calls, and no two claims contradict."""
    by_old: dict[str, str] = {}
    spans: set[int] = set()
    for change in changes:
        if by_old.setdefault(change.slot.value.lower(), change.new) != change.new:
            return False
        if change.start in spans or refused(change.old, change.new):
            return False
        spans.add(change.start)
        where = [p for form in set(forms_of(change.slot.value)) for p in places(form, trace.steps)]
        if not change.slot.declared:
            where = [place for place in where if not place.content]
            if names_program(change.slot.value, trace.steps):
                return False
        if not where or refuse_value(change.slot.value, change.new, where):
            return False
    return True
