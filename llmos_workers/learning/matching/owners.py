"""Whose is what? "My calendar and Ann's birthday" is not "Ann's calendar and my birthday", and the
teacher's students are not the students' teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.tokens import MEMO, Kind, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

Owner = Token | str
"""A thing or person named by the goal, or the pronoun that says whose."""

_PRONOUNS = frozenset({"my", "our", "your", "his", "her", "their"})
_NOUNS = frozenset({Kind.WORD, Kind.ACTION, Kind.IDENTIFIER, Kind.FORMAT})
_OWNING = _NOUNS | {Kind.EMAIL, Kind.FILE, Kind.PATH, Kind.QUOTE}
_PASSED = frozenset({Kind.ORDER, Kind.NUMBER, Kind.QUANTIFIER, Kind.DATE})
"""May stand between an owner and what is owned: "Ann's latest mail", "our two cars"."""
_TWO = 2


def owned_otherwise(sides: Sides) -> bool:
    """Whether a thing that both goals name belongs to one on one side and to another one on the
    other. Whether it is said whose it is at all ("the calendar", "my calendar") does not count.
    """
    mine, theirs = possessions(sides.reference), possessions(sides.query)
    partner = sides.alignment.partner()
    of_mine, of_theirs = _of(sides.reference.tokens), _of(sides.query.tokens)
    if _turned(of_mine, of_theirs, partner):
        return True
    if not (mine or theirs):
        return False
    if any(
        one in mine and two in theirs and _another(mine[one], theirs[two], partner)
        for one, two in sides.alignment.pairs
    ):
        return True
    if _owns_another(mine, theirs, partner):
        return True
    return _reversed(mine, _whose(of_theirs, theirs), partner) or _reversed(
        theirs, _whose(of_mine, mine), partner
    )


@lru_cache(maxsize=MEMO)
def possessions(goal: Goal) -> dict[Token, Owner]:
    """For each noun that has one the owner right before it: "my", "Ann's"."""
    found: dict[Token, Owner] = {}
    owner: Owner | None = None
    last: Token | None = None
    for token in goal.tokens:
        gap = goal.text[last.end : token.start] if last else ""
        if last is not None and owner is not last and owner != last.word and gap.strip(" -"):
            owner = None
        if token.kind is Kind.STOP:
            owner = token.value if token.value in _PRONOUNS else None
        elif token.kind in _NOUNS and owner is not None:
            found[token] = owner
        elif token.kind not in _PASSED:
            owner = None
        if is_possessive(goal.text, token):
            owner = token
        last = token
    return found


def is_possessive(text: str, token: Token) -> bool:
    """Whether a noun stands with 's, or as a plural with an apostrophe."""
    behind = text[token.end : token.end + _TWO]
    if token.kind not in _OWNING or behind[:1] not in ("'", "\u2019"):
        return False
    return behind[1:] == "s" or (behind[1:] == " " and token.word.endswith("s"))


def _another(one: Owner, two: Owner, partner: Mapping[Token, Token]) -> bool:
    if isinstance(one, Token) and isinstance(two, Token):
        return partner.get(one) is not two and one.value != two.value
    if isinstance(one, Token) or isinstance(two, Token):
        # "her" may be the one whom the other side names.
        return {one, two} & {"my", "our"} != set()
    return one != two


def _owns_another(
    mine: Mapping[Token, Owner], theirs: Mapping[Token, Owner], partner: Mapping[Token, Token]
) -> bool:
    """Whether one named on both sides owns here one thing and there another one that both name."""
    for owner in {one for one in mine.values() if isinstance(one, Token)}:
        other = partner.get(owner)
        here = {partner.get(t) for t, whose in mine.items() if whose is owner}
        there = {t for t, whose in theirs.items() if whose is other}
        known = None not in here and all(t in partner for t in there)
        if other is not None and there and known and here.isdisjoint(there):
            return True
    return False


def _whose(placed: Mapping[Token, Place], owned: Mapping[Token, Owner]) -> dict[Token, Owner]:
    """Owners said by 's or by "of"."""
    return {thing: owner for thing, (word, owner) in placed.items() if word == "of"} | dict(owned)


def _reversed(
    mine: Mapping[Token, Owner], theirs: Mapping[Token, Owner], partner: Mapping[Token, Token]
) -> bool:
    """Whether what is owned on one side owns its owner on the other."""
    return any(
        isinstance(owner, Token)
        and (other := partner.get(owner)) is not None
        and theirs.get(other) is partner.get(thing)
        for thing, owner in mine.items()
        if thing in partner
    )


def _turned(
    mine: Mapping[Token, Place], theirs: Mapping[Token, Place], partner: Mapping[Token, Token]
) -> bool:
    """Tell "the mails in the folders" from "the folders in the mails"."""
    for thing, (word, place) in mine.items():
        other = theirs.get(partner[place]) if place in partner else None
        if other is not None and other[0] == word and other[1] is partner.get(thing):
            return True
    return False


@lru_cache(maxsize=MEMO)
def _of(tokens: tuple[Token, ...]) -> dict[Token, Place]:
    """For each noun the thing that a preposition of place or "of" puts it with."""
    found: dict[Token, Place] = {}
    for at, (thing, of) in enumerate(pairwise(tokens)):
        if of.kind is not Kind.STOP or of.value not in _PLACED or thing.kind not in _NOUNS:
            continue
        owner = next((t for t in tokens[at + _TWO :] if t.kind is not Kind.STOP), None)
        if owner is not None and owner.kind in _OWNING:
            found[thing] = (_PLACED[of.value], owner)
    return found


Place = tuple[str, Token]
"""How a thing lies with another one, and the other one."""
_PLACED = {"of": "of", "on": "on", "with": "with"} | dict.fromkeys(
    ("in", "inside", "within", "under"), "in"
)
