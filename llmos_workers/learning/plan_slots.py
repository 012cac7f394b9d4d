"""Which values of a goal its plan merely carries, so that another may stand in their place. Pure.

A planner is free to make anything of a goal: its numbers may be the number of steps, a name the
stem of other names. So only names (files, addresses, quoted words, identifiers) may vary, and only
those that the steps hold as the goal has them, and that nothing else in the steps is made from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos_workers.contracts.trace import Slot, TraceStep
from llmos_workers.learning.matching.arguments import contents, delimited, leaves
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.slots import free_name, only_inside
from llmos_workers.learning.matching.tokens import Kind, Token
from llmos_workers.learning.matching.values import SLOT_TYPES, forms_of

_MAY_VARY = frozenset(
    {Kind.FILE, Kind.PATH, Kind.URL, Kind.EMAIL, Kind.QUOTE, Kind.IDENTIFIER, Kind.CHANNEL}
)
WORDED = frozenset({"goal", "outputs", "expects"})
"""Fields of a step that its values stand in; the others name steps and agents."""
_WORD = re.compile(r"[\w./@:-]*\w")
_LEAST_STEM = 2


def plan_slots(goal: str, steps: Sequence[TraceStep]) -> tuple[Slot, ...]:
    """Values of the goal that may be others the next time, with the plan as it is."""
    if contents(steps):
        return ()  # a long text is somebody's own words
    texts = worded(steps)
    said = {word.lower() for word in _WORD.findall(goal)}
    found: dict[str, Slot] = {}
    for token in parse(goal).said:
        if token.kind not in _MAY_VARY or token.text.lower() in found:
            continue
        if len(forms_of(token.text)) == 1 and _only_carried(token, texts, said):
            name = free_name(str(token.kind), found)
            kind = SLOT_TYPES.get(token.kind)
            slot = Slot(name=name, value=token.text)
            found[token.text.lower()] = slot.model_copy(update={"type": kind}) if kind else slot
    slots = tuple(found.values())
    return tuple(slot for slot in slots if not only_inside(slot, slots, steps))


def worded(steps: Sequence[TraceStep]) -> list[str]:
    """All that the steps say in words and paths."""
    return [
        leaf
        for step in steps
        for path, leaf in leaves(step.call.arguments)
        if path[0] in WORDED and isinstance(leaf, str)
    ]


def _only_carried(token: Token, texts: Sequence[str], said: set[str]) -> bool:
    """Whether the steps hold the value, and nothing that was made from it: every other word with
    its stem in it is one that the goal itself says.
    """
    if not any(delimited(token.text).search(text) for text in texts):
        return False
    bare = token.value.strip("\"'`“”").lower()
    stem = bare.rstrip("/").rsplit("/", 1)[-1].split(".")[0]
    made_of = stem if len(stem) >= _LEAST_STEM else bare
    words = (word.lower() for text in texts for word in _WORD.findall(text))
    return all(word in said for word in words if made_of in word)
