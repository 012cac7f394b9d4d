"""Which preposition leads a thing in, and whether another one says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.align import Pair
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.owners import is_possessive
from llmos_workers.learning.matching.tokens import MEMO, Kind, Role, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_LEAD_REACH = 2

_ALIKE = frozenset(
    frozenset(pair.split())
    for pair in (
        *("to into", "to onto", "to as", "to ->", "into as", "into onto", "into ->", "as ->"),
        *("in to", "in into", "on onto"),  # put it in, to, into the folder
        *("in on", "in at", "in of", "of from", "on at", "of on"),
        *("in within", "in inside", "within inside", "in under", "under within", "under inside"),
        *(
            "in below",
            "under below",
            "in across",
            "of within",
            "of inside",
            "across of",
            "around near",
            "by near",
        ),
        *("about on", "about of", "about regarding", "about concerning", "regarding on"),
        *("regarding concerning", "concerning on", "regarding of"),
        *("named called", "named titled", "called titled", "as named", "as called", "as titled"),
        *("with named", "with called", "with titled", "with saying", "with containing"),
        *("with w/", "with using", "with via", "by via", "by through", "via through"),
        *("from by", "for of", "against with", "between from", "by per"),
    )
)
"""Prepositions that may say the same of a thing. All others say another thing each: what is written
to Ann is not written for her, nor a talk with her one for her.
"""
_MOMENTS = frozenset({Kind.DATE, Kind.DAY, Kind.TIME})
_AT_MOMENTS = frozenset({"at", "for", "on", "in"})
_NOT_OF_NAMES = frozenset(frozenset(pair.split()) for pair in ("for of", "with via", "from of"))
"""Alike for things, not for people and places: a picture of Ann is none for her."""
_OWNING = frozenset({"'s", "", "of", "from", "by", "in", "on", "at"})
_NEVER_UNSAID = frozenset({"against", "outside", "near", "before", "after", "behind"})


_INFORMING_OF = frozenset({"for", "in", "of", "on", "at", "from"})
_DOCUMENTS = frozenset({Kind.FILE, Kind.PATH, Kind.URL})
_PUBLISHING = frozenset({"commit", "post"})
_SPANS = frozenset({"second", "minute", "hour", "day", "week", "month", "year"})
_OF_PLACES = frozenset({"weather", "forecast", "temperature", "humidity"})
_BESIDE = frozenset({"over", "under", "above", "below"})
"""Read as a place before a name, as a comparison before a number."""


class _Leads:
    """How the things of two goals are led in."""

    def __init__(self, sides: Sides, lex: Lexicon) -> None:
        self._mine = _leads(sides.reference, lex)
        self._theirs = _leads(sides.query, lex)
        tokens = (*sides.reference.tokens, *sides.query.tokens)
        self._deeds = {t.action for t in tokens if t.action}
        self._asks = self._deeds <= lex.classes["informing"]
        self._ranks = any(t.kind is Kind.ORDER for t in tokens)
        self._spans = any(t.kind is Kind.UNIT and t.value in _SPANS for t in tokens)
        self._weather = any(t.word in _OF_PLACES for t in tokens)
        self._brought = any(t.role is Role.DESTINATION for t in tokens)

    def otherwise(self, things: Sequence[Pair]) -> bool:
        """Whether one thing is led in otherwise, or two swapped what leads them in."""
        led = [(one, self._mine[one], self._theirs[two]) for one, two in things]
        said = [(one, a, b) for one, a, b in led if a is not None and b is not None]
        if not all(self._alike(*one) for one in said):
            return True
        moved = {(here, there) for _, here, there in said if here != there}
        return any((there, here) in moved for here, there in moved)

    def _alike(self, thing: Token, here: str, there: str) -> bool:
        """Whether two prepositions may lead the same thing in the same way."""
        both = frozenset({here, there})
        if here == there or (thing.kind is Kind.NUMBER and both & _BESIDE):
            return True
        if "'s" in both:
            return both <= _OWNING
        if "" in both:
            deadline = "by" in both and thing.kind in _MOMENTS
            later = "in" in both and thing.kind is Kind.NUMBER and self._spans
            return not (deadline or later) and both.isdisjoint(_NEVER_UNSAID)
        named = thing.kind is Kind.WORD and thing.text[0].isupper()
        return (
            (thing.kind in _MOMENTS and both <= _AT_MOMENTS)
            or (thing.kind in _DOCUMENTS and self._asks and both <= _INFORMING_OF)
            or (both in _ALIKE and not (named and both in _NOT_OF_NAMES))
            or self._alike_here(both, named=named)
        )

    def _alike_here(self, both: frozenset[str], *, named: bool) -> bool:
        """Pairs that are alike in some company: "the top ten by revenue", "the ten with the most
        revenue"; "post it on", "to the board"; "copy what is in", "from Downloads".
        """
        return {
            frozenset({"by", "with"}): self._ranks,
            frozenset({"on", "to"}): not self._deeds.isdisjoint(_PUBLISHING),
            frozenset({"for", "in"}): named and self._weather,
            frozenset({"in", "from"}): not named or self._brought,
        }.get(both, False)


def led_otherwise(sides: Sides, things: Sequence[Pair], lex: Lexicon) -> bool:
    """Whether a thing is led in by a word that says otherwise, or two things swapped theirs:
    "by Ann for Bob".
    """
    return _Leads(sides, lex).otherwise(things)


@lru_cache(maxsize=MEMO)
def _leads(goal: Goal, lex: Lexicon) -> dict[Token, str | None]:
    """For each token the preposition that leads it in, at most a few words before; None for what
    only tells more of the noun behind it.
    """
    prepositions, others = lex.words["preposition"], lex.words["leading"]
    found: dict[Token, str | None] = {}
    lead, age, thing = "", 0, False
    for token in goal.tokens:
        word = token.word
        if word in prepositions or word in others or token.value in prepositions:
            lead, age, thing = word, 0, False
            found[token] = ""
            continue
        another = thing and token.value in ("the", "a", "an", "my", "our")
        if token.kind is Kind.ACTION or age > _LEAD_REACH or another:
            lead = ""
        thing = token.kind not in (Kind.STOP, Kind.QUANTIFIER)
        found[token] = lead
        age = 0 if token.value == "and" else age + 1
    for token in goal.tokens:
        if not found[token] and token.text[0].isupper() and is_possessive(goal.text, token):
            found[token] = "'s"
    for one, two in pairwise(goal.tokens):
        if _tells_more(one, two, goal) and found[one] == found[two]:
            found[one] = None
    return found


def _tells_more(one: Token, two: Token, goal: Goal) -> bool:
    """Whether a word stands right before a noun: "2023 total", "marketing team"."""
    year = (
        one.kind is Kind.NUMBER and one.value[:2] in ("19", "20") and len(one.value) == len("2023")
    )
    plain = year or (one.kind is Kind.WORD and one.text.islower())
    noun = two.kind is Kind.WORD and two.text.islower()
    return plain and noun and goal.text[one.end : two.start] in (" ", "-")
