"""What is no new value of a slot, though it stands where one would: a slip of the old value, its
opposite, nobody, or the recorded values in other slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.typos import edit_distance, is_slip

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.phrases import Change

_NOBODY = frozenset({"nobody", "no", "none", "nothing", "nowhere", "neither", "never", "noone"})
_OPPOSITE = ("un", "in", "im", "ir", "il", "dis", "non", "mis", "anti", "ex")
_SLIP_CHARS = 5
"""In a shorter word one letter tells words apart: "cat", "car"."""


def refused(old: str, new: str) -> bool:
    """Whether ``new`` means no other value of a slot whose value is ``old``."""
    return _misspelled(old, new) or _denied(old.lower(), new.lower())


def _misspelled(old: str, new: str) -> bool:
    """Whether a new value looks like the old one with a slip, not like another one: it is no
    word, or both are plain words a letter apart ("singed" for "signed").
    """
    before, after = old.lower().split(), new.lower().split()
    if all(word.isalpha() for word in after) and is_slip(new.lower(), old.lower()):
        is_word = lexicon().speller.is_word
        if any(not is_word(word) for word in after):
            return True
    if len(before) != len(after):
        return False
    apart = [(one, two) for one, two in zip(before, after, strict=True) if one != two]
    return len(apart) == 1 and new.islower() and _letter_apart(*apart[0])


def _letter_apart(one: str, other: str) -> bool:
    """Whether two plain words differ by one letter, or by two neighbours that traded places."""
    if not (one.isalpha() and other.isalpha()) or min(len(one), len(other)) < _SLIP_CHARS:
        return False
    return is_slip(other, one) and edit_distance(one, other) == 1


def _denied(old: str, new: str) -> bool:
    """Whether the new value says that there is none, or is the opposite of the old one."""
    words = new.split()
    if words and words[0] in _NOBODY:
        return True
    known = set(old.replace("-", " ").split())
    return any(
        word.removeprefix(prefix).lstrip("-") in known
        for word in words
        for prefix in _OPPOSITE
        if word.startswith(prefix) and word not in known
    )


def permuted(changes: Sequence[Change], goal: Goal, query: Goal) -> bool:
    """Whether slots only take each other's values though the sentence is another one: more likely
    the same job in other words ("make b from a") than one with its values exchanged.
    """
    old, new = [c.old.lower() for c in changes], [c.new.lower() for c in changes]
    if len(changes) < 2 or sorted(old) != sorted(new):
        return False
    return _frame(goal, old) != _frame(query, new)


def _frame(goal: Goal, values: Sequence[str]) -> list[str]:
    """What a goal says, in order, with some values left open."""
    return ["\0" if token.word in values else token.value for token in goal.said]
