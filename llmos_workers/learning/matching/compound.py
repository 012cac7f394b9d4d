"""Is a goal of several parts the one whose plan is known, and with which values? Part by part.

Both goals are cut into clauses. There must be as many, each the same as the one in its place by
the rules that hold for any goal, or the same with other values in the plan's slots; a value that
stands in several parts has to be the same in all of them. Who asks for an order that the known
goal did not ask for asks for something else: its plan may do these parts at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.trace import ExecutionTrace, Slot
from llmos_workers.learning.matching.arguments import delimited
from llmos_workers.learning.matching.bind import bind
from llmos_workers.learning.matching.compare import Comparison
from llmos_workers.learning.matching.deeds import JOINTS, ORDERS, clauses
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.matching.parse import parse

Compare = Callable[[str, str], Comparison]

_LISTED = re.compile(r"(?:^|(?<=[\s;:]))(?:\d{1,2}[.)]|[-*•])\s+([A-Za-z])")
"""The head of a line in a list; without it the first letter is no sentence's."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of a goal, in its words."""

    text: str
    after: bool
    """Whether it is set behind what stands before it: "then", "finally"."""


@dataclass(frozen=True, slots=True)
class Compound:
    """What came of holding a goal against a known one, part by part."""

    confidence: float
    """That of the least sure part."""
    slots: dict[str, str]
    """Values of all slots."""
    agreed: tuple[str, ...]
    bound: bool
    """Whether a value is another one than in the known goal."""


def parts_of(goal: str) -> list[Clause]:
    """The clauses of a goal, each from its verb on."""
    plain = _LISTED.sub(lambda head: f"; {head[1].lower()}", goal).lstrip("; ")
    found: list[Clause] = []
    after = False
    for clause in clauses(parse(plain)):
        tokens = sorted(clause, key=lambda token: token.start)
        # A joint at the end belongs to what follows.
        tail = len(tokens)
        while tail > 1 and tokens[tail - 1].word in JOINTS | ORDERS:
            tail -= 1
        kept = tokens[:tail]
        lead = not found and any(t.word in ORDERS for t in kept[: kept.index(clause[0])])
        text = plain[clause[0].start if lead else kept[0].start : kept[-1].end]
        found.append(Clause(text, after))
        after = any(token.word in ORDERS for token in tokens[tail:])
    return found


def hold_parts(
    trace: ExecutionTrace,
    reference: str,
    goal: str,
    compare: Compare,
    embed: Callable[[str], Embedding],
    *,
    threshold: float,
) -> Compound | None:
    """How sure it is that ``goal`` is ``reference``, perhaps with other values of the trace's
    slots; None when it is not, or nobody can tell.
    """
    known, asked = parts_of(reference), parts_of(goal)
    if len(known) != len(asked) or len(known) < 2:
        return None
    if any(two.after and not one.after for one, two in zip(known, asked, strict=True)):
        return None
    values: dict[str, str] = {}
    sure, agreed = 1.0, list[str]()
    for one, two in zip(known, asked, strict=True):
        here = tuple(slot for slot in trace.slots if delimited(slot.value).search(one.text))
        part = _held(one.text, two.text, here, compare, threshold)
        part = part or _bound(trace, here, (one.text, two.text), compare, embed)
        if part is None or part.confidence < threshold:
            return None
        if any(values.setdefault(n, v) != v for n, v in part.slots.items()):
            return None
        sure = min(sure, part.confidence)
        agreed += part.agreed
    whole = {slot.name: values.get(slot.name, slot.value) for slot in trace.slots}
    if not _kept_apart(trace.slots, whole):
        return None
    bound = any(whole[slot.name] != slot.value for slot in trace.slots)
    return Compound(sure, whole, tuple(agreed), bound)


@dataclass(frozen=True, slots=True)
class _Part:
    confidence: float
    slots: dict[str, str]
    agreed: tuple[str, ...]


def _held(
    reference: str, goal: str, here: Sequence[Slot], compare: Compare, threshold: float
) -> _Part | None:
    """A part with the values it had."""
    held = compare(reference, goal)
    if held.confidence < threshold:
        return None
    return _Part(held.confidence, {slot.name: slot.value for slot in here}, held.agreed[:3])


def _bound(
    trace: ExecutionTrace,
    here: tuple[Slot, ...],
    texts: tuple[str, str],
    compare: Compare,
    embed: Callable[[str], Embedding],
) -> _Part | None:
    """A part with other values in the slots that stand in it."""
    reference, goal = texts
    part = trace.model_copy(update={"slots": here})
    found = bind(part, reference, goal, embed, judge=lambda text: compare(reference, text))
    return None if found is None else _Part(found.confidence, found.slots, (found.why,))


def _kept_apart(slots: Sequence[Slot], values: Mapping[str, str]) -> bool:
    """Whether what were different things are different things still."""
    return len({value.lower() for value in values.values()}) == len(
        {slot.value.lower() for slot in slots}
    )
