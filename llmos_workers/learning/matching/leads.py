"""Which preposition leads a thing in, and whether another one says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.align import Pair
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import MEMO, Kind, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.sides import Sides

_LEAD_REACH = 2

_CONTRARY_LEADS = frozenset(
    frozenset(pair.split())
    for pair in (
        *("from for", "by for", "against for", "to by", "of by"),
        *("to over", "into over", "on from"),
    )
)
"""What is bought from Ann is not bought for her."""


def _by_whom(thing: Token, here: str, there: str) -> bool:
    """Tell "shared with Bob" from "shared by Bob"."""
    return {here, there} == {"with", "by"} and thing.text[0].isupper()


_MOMENTS = frozenset({Kind.DATE, Kind.DAY, Kind.TIME})


def _other_time(thing: Token, here: str, there: str) -> bool:
    """Tell "on Friday" from "after Friday" and "by Friday"."""
    telling = {"before", "after"} | ({"by"} if thing.kind in _MOMENTS else set())
    return here != there and bool({here, there} & telling)


_SPANS = frozenset({"second", "minute", "hour", "day", "week", "month", "year"})


def _other_span(sides: Sides, number: Token, here: str, there: str) -> bool:
    """Tell "for 5 minutes", how long, from "in 5 minutes", when."""
    if number.kind is not Kind.NUMBER or {here, there} != {"for", "in"}:
        return False
    after = next((t for t in sides.reference.tokens if t.start > number.start), None)
    return after is not None and after.kind is Kind.UNIT and after.value in _SPANS


_RELATIONS = {
    "about": frozenset(
        {"", "on", "of", "for", "regarding", "concerning", "with", "named", "titled"}
    ),
    "against": frozenset({"with", "to"}),
    "between": frozenset({"", "from", "of", "in"}),
    "outside": frozenset[str](),
    "near": frozenset({"around", "by"}),
}
"""Prepositions that say how a thing takes part, and those that may say the same."""


def _other_relation(here: str, there: str) -> bool:
    """Tell "mails about Ann" from "mails from Ann", "outside lib" from "in lib"."""
    return here != there and any(
        one in _RELATIONS and other not in _RELATIONS[one]
        for one, other in ((here, there), (there, here))
    )


def led_otherwise(sides: Sides, things: Sequence[Pair], lex: Lexicon) -> bool:
    """Whether a thing is led in by a word that says otherwise, or two things swapped theirs:
    "by Ann for Bob".
    """
    mine, theirs = _leads(sides.reference.tokens, lex), _leads(sides.query.tokens, lex)
    led = [(mine[one], theirs[two]) for one, two in things]
    moved = {lead for lead in led if lead[0] != lead[1]}
    if any(frozenset(lead) in _CONTRARY_LEADS for lead in moved):
        return True
    if any(_by_whom(one, mine[one], theirs[two]) for one, two in things):
        return True
    if any(_other_time(one, mine[one], theirs[two]) for one, two in things):
        return True
    if any(_other_span(sides, one, mine[one], theirs[two]) for one, two in things):
        return True
    if any(_other_relation(mine[one], theirs[two]) for one, two in things):
        return True
    return any((there, here) in moved for here, there in moved)


@lru_cache(maxsize=MEMO)
def _leads(tokens: tuple[Token, ...], lex: Lexicon) -> dict[Token, str]:
    """For each token the preposition that leads it in, at most a few words before."""
    prepositions, others = lex.words["preposition"], lex.words["leading"]
    found: dict[Token, str] = {}
    lead, age, thing = "", 0, False
    for token in tokens:
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
    return found
