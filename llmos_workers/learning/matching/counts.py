"""What does a number or a name stand beside? "Groups of four" are not "four groups", "port 8080" is
no "process 8080", "3-14 August" is more than "3 and 14 August".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.tokens import ANCHORS, MEMO, Kind, Token
from llmos_workers.learning.matching.unsaid import plural

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_RE_YEAR = re.compile(r"(?:19|20)\d\d")
_POINTS = frozenset({Kind.NUMBER, Kind.DAY, Kind.TIME, Kind.DATE})
_NAMED = (ANCHORS - {Kind.DAY, Kind.TIME, Kind.SIZE, Kind.EXPRESSION}) | {Kind.WORD}
_MEASURES = frozenset({Kind.UNIT, Kind.DATE})
_THROUGH = frozenset({"-", "\u2013", "\u2014", "to", "until", "till", "through", "thru"})
_BOTH = frozenset({"and", "&", ",", "or", "plus"})
_OF_NOUN = frozenset({"for", "of", "on", "in", "with", "from", "at", "about", "the", "a", "an"})
_ALL_THINGS = frozenset({"everything", "everyone"})


def counted_otherwise(sides: Sides) -> bool:
    """Whether a number or a name goes with another noun, or two numbers with each other in
    another way.
    """
    partner = sides.alignment.partner()
    return (
        _spanned_otherwise(sides, partner)
        or _names_all(sides)
        or _beside_another(sides, partner)
        or _made_of(sides.reference, sides.query, partner)
        or _made_of(sides.query, sides.reference, partner)
        or _makes_another(sides, partner)
        or _most_of_another(sides, partner)
        or _share_of_another(sides, partner)
        or _shares_out(sides.reference) != _shares_out(sides.query)
        or _any_one(sides.reference, sides.query, partner)
        or _any_one(sides.query, sides.reference, partner)
    )


def _names_all(sides: Sides) -> bool:
    """Tell "everything on the stick" from "every photo on the stick"."""
    return any(
        one.kind is Kind.QUANTIFIER and (one.word in _ALL_THINGS) != (two.word in _ALL_THINGS)
        for one, two in sides.alignment.pairs
    )


def _spanned_otherwise(sides: Sides, partner: Mapping[Token, Token]) -> bool:
    """Tell "3-14 August" from "3 and 14 August"."""
    mine = _joints(sides.reference)
    if not mine:
        return False
    theirs = _joints(sides.query)
    for (one, two), joint in mine.items():
        first, second = partner.get(one), partner.get(two)
        if first is None or second is None:
            continue
        if theirs.get((first, second), joint) != joint:
            return True
    return False


@lru_cache(maxsize=MEMO)
def _joints(goal: Goal) -> dict[tuple[Token, Token], bool]:
    """Neighbouring points of a kind, and whether they bound a span."""
    found: dict[tuple[Token, Token], bool] = {}
    points = [t for t in goal.tokens if t.kind in _POINTS]
    kinds = [t.kind for t in points]
    for kind in {kind for kind in kinds if kinds.count(kind) > 1}:
        for one, two in pairwise([t for t in points if t.kind is kind]):
            words = _between(goal, one, two)
            if words and words <= _THROUGH:
                found[one, two] = True
            elif words and words <= _BOTH:
                lead = _before(goal.tokens, one)
                found[one, two] = lead is not None and lead.word == "between"
    return found


def _between(goal: Goal, one: Token, two: Token) -> set[str]:
    """The words and signs between two points, without months and units."""
    text, at = "", one.end
    for token in goal.tokens:
        if one.end <= token.start < two.start and token.kind in _MEASURES:
            text += goal.text[at : token.start] + " "
            at = token.end
    text += goal.text[at : two.start]
    return set(text.replace(",", " , ").replace("-", " - ").lower().split()) - {"the"}


def _beside_another(sides: Sides, partner: Mapping[Token, Token]) -> bool:
    """Whether the noun beside a value is one on one side and another one on the other, where both
    goals have both nouns.
    """
    mine, theirs = _labels(sides.reference), _labels(sides.query)
    for one, two in sides.alignment.pairs:
        here, there = mine.get(one), theirs.get(two)
        if not here or not there or not all(token in partner for token in (*here, *there)):
            continue
        if {t.value for t in here} & {t.value for t in there} or two in map(partner.get, here):
            continue
        if not {partner[token] for token in here}.isdisjoint(there):
            continue
        if one.kind is not Kind.WORD or _both_trade(here, there, mine, theirs, partner):
            return True
    return False


Labels = dict[Token, list[Token]]


def _both_trade(
    one: Sequence[Token],
    two: Sequence[Token],
    mine: Labels,
    theirs: Labels,
    partner: Mapping[Token, Token],
) -> bool:
    """Whether each of two nouns stands beside another noun on the other side: "user deploy, group
    docker" and "group deploy, user docker". Most nouns may stand before their thing or not.
    """
    return all(
        _beside(partner[noun], there) - _beside(noun, here)
        for nouns, here, there in ((one, mine, theirs), (two, theirs, mine))
        for noun in nouns
    )


def _beside(noun: Token, labels: Labels) -> set[str]:
    """The nouns right before and right behind a noun."""
    behind = {t.value for t, nouns in labels.items() if noun in nouns and t.kind is Kind.WORD}
    return behind | {t.value for t in labels.get(noun, ())}


@lru_cache(maxsize=MEMO)
def _labels(goal: Goal) -> Labels:
    """For each value the nouns right beside it; for a noun the one before it."""
    found: Labels = {}
    tokens, text = goal.tokens, goal.text
    for at, token in enumerate(tokens):
        if token.kind not in _NAMED:
            continue
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.kind is Kind.NUMBER and after is not None and after.kind in _MEASURES:
            continue
        behind = []
        if after is not None and token.kind is not Kind.WORD and after.kind is Kind.WORD:
            behind = [after] if text[token.end : after.start] in (" ", "-") else []
        counts = token.kind is Kind.NUMBER and any(map(plural, behind))
        found[token] = behind if counts else [*_noun_before(goal, at), *behind]
    return found


def _noun_before(goal: Goal, at: int) -> list[Token]:
    """The noun right before a token; of "letter of referral" both."""
    tokens, text = goal.tokens, goal.text
    found: list[Token] = []
    number = tokens[at].kind is Kind.NUMBER
    while at and text[tokens[at - 1].end : tokens[at].start].isspace():
        at -= 1
        if not _is_noun(tokens, at):
            break
        found.append(tokens[at])
        if not at or tokens[at - 1].value != "of" or number:
            break
        at -= 1
    return found


def _is_noun(tokens: Sequence[Token], at: int) -> bool:
    """Whether a noun stands there: also one that may be a verb, "for order 30"."""
    token = tokens[at]
    if token.kind is Kind.WORD:
        return True
    verb = token.kind is not Kind.ACTION or token.word.endswith("ed")
    return not verb and at > 0 and tokens[at - 1].value in _OF_NOUN


def _made_of(goal: Goal, other: Goal, partner: Mapping[Token, Token]) -> bool:
    """Tell "groups of four" from "four groups"."""
    for noun, number in _of_so_many(goal):
        there = partner.get(number)
        if there is not None and noun in partner and partner[noun] in _counted(other, there):
            return True
    return False


@lru_cache(maxsize=MEMO)
def _of_so_many(goal: Goal) -> list[tuple[Token, Token]]:
    """Nouns with the number that "of" puts behind them and that counts nothing else; no years."""
    tokens = goal.tokens
    return [
        (noun, number)
        for noun, of, number in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if number.kind is Kind.NUMBER
        and of.value == "of"
        and not (_RE_YEAR.fullmatch(number.value) or _counts(goal, number))
    ]


def _counts(goal: Goal, number: Token) -> bool:
    """Whether a number has its own noun or unit right behind it."""
    after = next((t for t in goal.tokens if t.start >= number.end), None)
    if after is None or after.kind not in _MEASURES | {Kind.WORD}:
        return False
    return goal.text[number.end : after.start] in (" ", "-", "")


def _counted(goal: Goal, number: Token) -> list[Token]:
    """The nouns right behind a number."""
    found: list[Token] = []
    last = number
    for token in goal.tokens[goal.tokens.index(number) + 1 :]:
        if token.kind is not Kind.WORD or goal.text[last.end : token.start] not in (" ", "-"):
            break
        found.append(token)
        last = token
    return found


_DEFINITE = frozenset({"the", "my", "our", "this", "that", "these", "those", "it", "them"})


def _makes_another(sides: Sides, partner: Mapping[Token, Token]) -> bool:
    """Tell "create a group with a mailbox" from "create a mailbox, add it to the group"."""
    mine, theirs = _made(sides.reference), _made(sides.query)
    if not (mine and theirs):
        return False
    meant = {partner.get(token) for token in mine}
    known = None not in meant and all(token in partner for token in theirs)
    return known and meant.isdisjoint(theirs)


def _makes(token: Token) -> bool:
    return token.word == "make" or (token.value == "create" and not token.word.endswith("ed"))


@lru_cache(maxsize=MEMO)
def _made(goal: Goal) -> set[Token]:
    """The nouns of what the first making verb makes; empty if it takes something that is there."""
    tokens = goal.tokens
    at = next((i for i, token in enumerate(tokens) if _makes(token)), None)
    found: set[Token] = set()
    end = tokens[at].end if at is not None else 0
    for token in tokens[at + 1 :] if at is not None else ():
        if token.value in _DEFINITE or goal.text[end : token.start].strip(" -"):
            break
        end = token.end
        if token.kind is Kind.WORD:
            found.add(token)
        elif found or token.kind not in (Kind.STOP, Kind.NUMBER, Kind.QUANTIFIER, Kind.ORDER):
            break
    return found


_SIZES = frozenset({"largest", "biggest", "highest"})
_BY_WHAT = frozenset({"with", "and"})


def _most_of_another(sides: Sides, partner: Mapping[Token, Token]) -> bool:
    """Tell "the folders with the most files" from "the largest folders": by what the first are
    chosen has to be what the others are chosen by.
    """
    pairs = sides.alignment.pairs
    for here, there, goal, other in (
        *((one, two, sides.reference, sides.query) for one, two in pairs),
        *((two, one, sides.query, sides.reference) for one, two in pairs),
    ):
        if here.word != "most" or here.kind is not Kind.ORDER or there.word == "most":
            continue
        measures = [partner.get(token) for token in _counted(goal, here)]
        if not measures or measures[-1] is None:
            return True
        lead = _before(other.tokens, measures[-1])
        if there.word in _SIZES and measures[-1] not in _counted(other, there):
            return True
        if lead is not None and lead.value in _BY_WHAT:
            return True
    return False


_SHARES = frozenset({"most", "half", "any", "one"})


def _share_of_another(sides: Sides, partner: Mapping[Token, Token]) -> bool:
    """Tell "the files most users open" from "the files users open most"."""
    for one, two in sides.alignment.pairs:
        if one.kind is not Kind.QUANTIFIER or one.value not in _SHARES:
            continue
        here, there = _counted(sides.reference, one), _counted(sides.query, two)
        known = all(t in partner for t in (*here, *there))
        if known and (here or there) and {partner[t] for t in here}.isdisjoint(there):
            return True
    return False


_EACH_ONE = frozenset({"all", "each", "every", "any", "one", "a", "an"})


def _any_one(goal: Goal, other: Goal, partner: Mapping[Token, Token]) -> bool:
    """Tell "lock any door", whichever it is, from "lock the door"."""
    for noun in _whichever(goal):
        there = partner.get(noun)
        if there is not None and not plural(there):
            before = [t.value for t in other.tokens if t.end <= there.start][-3:]
            if _EACH_ONE.isdisjoint(before):
                return True
    return False


@lru_cache(maxsize=MEMO)
def _whichever(goal: Goal) -> list[Token]:
    """What a goal says "any" of, one by one."""
    counted = [_counted(goal, word) for word in goal.tokens if word.value == "any"]
    return [nouns[-1] for nouns in counted if nouns and not plural(nouns[-1])]


@lru_cache(maxsize=MEMO)
def _shares_out(goal: Goal) -> bool:
    """Whether each has one of its own: "send each team its own report"."""
    each = any(t.kind is Kind.QUANTIFIER for t in goal.tokens)
    pairs = pairwise(goal.tokens) if each else ()
    return any(one.value in ("its", "their") and two.value == "own" for one, two in pairs)


def _before(tokens: Sequence[Token], token: Token) -> Token | None:
    at = tokens.index(token)
    return tokens[at - 1] if at else None
