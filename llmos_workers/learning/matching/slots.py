"""Slots: values of a goal that reappear in the recorded calls and may be another next time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmos_workers.contracts.trace import Slot, SlotType, TraceStep
from llmos_workers.learning.matching.arguments import (
    Place,
    contents,
    delimited,
    is_content,
    leaves,
    names_program,
    places,
    substitute,
)
from llmos_workers.learning.matching.bind import Binding, bind
from llmos_workers.learning.matching.lexicon import Lexicon, lexicon
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.tokens import Kind, Token
from llmos_workers.learning.matching.values import SLOT_TYPES, forms, forms_of, may_vary

__all__ = ["Binding", "bind", "discover_slots", "fill"]

_PHRASE_CHARS = range(2, 40)
"""Lengths of a whole argument that may be a phrase of the goal."""
_NAME_CHARS = re.compile(r"[^a-z0-9]+")


def discover_slots(goal_text: str, steps: Sequence[TraceStep]) -> tuple[Slot, ...]:
    """Values of the goal that stand in the arguments and may vary without a model's word.

    A trace with generated content gets slots only for files that the content does not mention:
    anything else may have shaped the content.
    """
    lex = lexicon()
    written = contents(steps)
    found: dict[str, Slot] = {}
    for token in parse(goal_text).said:
        if not may_vary(token, lex) or token.text.lower() in found:
            continue
        if written and not _only_names_a_file(token, written):
            continue
        where = [p for form in _forms(token) for p in places(form, steps) if not p.content]
        if names_program(token.text, steps):
            continue
        if where and not _ambiguous(token, where, goal_text):
            kind = SLOT_TYPES.get(token.kind, SlotType.TEXT)
            name = free_name(str(token.kind), found)
            found[token.text.lower()] = Slot(name=name, type=kind, value=token.text)
    if not written:
        _add_phrases(found, goal_text, steps, lex)
    slots = tuple(found.values())
    return tuple(slot for slot in slots if not only_inside(slot, slots, steps))


def only_inside(slot: Slot, slots: Sequence[Slot], steps: Sequence[TraceStep]) -> bool:
    """Whether a value stands only inside longer ones: it would be lost when they change."""
    longer = [
        other
        for other in slots
        if len(other.value) > len(slot.value) and slot.value.lower() in other.value.lower()
    ]
    alone = substitute(steps, {other.value: "\0" for other in longer}, {}) if longer else steps
    return not any(places(form, alone) for form in forms_of(slot.value))


def fill(
    steps: Sequence[TraceStep], slots: Sequence[Slot], values: Mapping[str, str]
) -> list[TraceStep]:
    """New steps with the slots' values replaced, all at once and only where they stand alone.

    ``values`` maps slot names to new values; a slot that is not named keeps its value. Content
    changes only for declared slots. Binding (``bind``) has checked the values.
    """
    plain: dict[str, str] = {}
    everywhere: dict[str, str] = {}
    for slot in slots:
        new = values.get(slot.name, slot.value)
        if new == slot.value:
            continue
        target = everywhere if slot.declared else plain
        old_forms, new_forms = forms_of(slot.value), forms_of(new)
        for at, old in enumerate(old_forms):
            target.setdefault(old, new_forms[at] if at < len(new_forms) else new)
    if not plain and not everywhere:
        return list(steps)
    return substitute(steps, plain, everywhere)


def _forms(token: Token) -> tuple[str, ...]:
    return tuple(dict.fromkeys(forms(token.kind, token.text, token.value)))


def _only_names_a_file(token: Token, written: Sequence[str]) -> bool:
    if token.kind not in (Kind.FILE, Kind.PATH):
        return False
    stem = token.text.rstrip("/").rsplit("/", 1)[-1].split(".")[0].lower()
    return len(stem) > 1 and not any(stem in text.lower() for text in written)


def _ambiguous(token: Token, where: Sequence[Place], goal_text: str) -> bool:
    """A number in several places of goal or arguments: nobody can tell which is which."""
    if token.kind is not Kind.NUMBER:
        return False
    said = sum(t.kind is Kind.NUMBER and t.value == token.value for t in parse(goal_text).said)
    return said > 1 or len({(p.step, p.path) for p in where}) > 1


def _add_phrases(
    found: dict[str, Slot], goal_text: str, steps: Sequence[TraceStep], lex: Lexicon
) -> None:
    """Names in plain words: whole arguments that the goal says too."""
    for step in steps:
        for path, leaf in leaves(step.call.arguments):
            if not isinstance(leaf, str) or len(leaf) not in _PHRASE_CHARS:
                continue
            if leaf.lower() in found or is_content(path, leaf) or names_program(leaf, steps):
                continue
            if _is_name_in(leaf, goal_text, lex):
                name = free_name(str(path[-1]) if path else "value", found)
                found[leaf.lower()] = Slot(name=name, type=SlotType.NAME, value=leaf)


def _is_name_in(value: str, goal_text: str, lex: Lexicon) -> bool:
    """Whether the goal says the value as a name: capitalized, or behind a preposition."""
    match = delimited(value).search(goal_text)
    if match is None:
        return False
    goal = parse(goal_text)
    inside = [t for t in goal.said if match.start() <= t.start and t.end <= match.end()]
    if not inside or any(t.kind is not Kind.WORD for t in inside):
        return False
    before = [t for t in goal.tokens if t.end <= match.start()][-2:]
    led = any(t.kind is Kind.STOP and t.value in lex.words["preposition"] for t in before)
    return goal_text[match.start()].isupper() or led


def free_name(wish: str, found: Mapping[str, Slot]) -> str:
    base = _NAME_CHARS.sub("_", wish.lower()).strip("_") or "value"
    taken = {slot.name for slot in found.values()}
    at = 1
    name = base
    while name in taken:
        at += 1
        name = f"{base}_{at}"
    return name
