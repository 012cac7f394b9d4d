"""Have two things traded places? What stands right behind what, and which way it goes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.align import Pair
from llmos_workers.learning.matching.owners import is_possessive
from llmos_workers.learning.matching.tokens import ANCHORS, MEMO, Kind, Role, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_WAYS = (Role.SOURCE, Role.DESTINATION)


class Row:
    """The meaningful tokens of one side, in order."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = [t for t in tokens if t.kind is not Kind.STOP]
        self._place = {token: at for at, token in enumerate(self._tokens)}

    def after(self, token: Token) -> Token | None:
        """The next one, if any."""
        at = self._place[token] + 1
        return self._tokens[at] if at < len(self._tokens) else None

    def before(self, token: Token) -> Token | None:
        """The one before, if any."""
        at = self._place.get(token, 0) - 1
        return self._tokens[at] if at >= 0 else None

    def behind(self, token: Token, reach: int = 3) -> list[Token]:
        """The next few."""
        at = self._place[token] + 1
        return self._tokens[at : at + reach]

    def near(self, token: Token, reach: int = 3) -> list[Token]:
        """The few on both sides, and itself."""
        at = self._place[token]
        return self._tokens[max(0, at - reach) : at + reach + 1]


row_of = lru_cache(maxsize=MEMO)(Row)

_CALLED = frozenset(
    {Kind.WORD, Kind.ACTION, Kind.IDENTIFIER, Kind.PATH, Kind.FILE, Kind.UNIT, Kind.SPEECH}
)
"""What may be a name, whatever it looks like."""


def traded(things: Sequence[Pair]) -> bool:
    """Tell "merge a into b" from "merge b into a" where only one side of each is led in: a thing
    loses the role that another one of its clause takes.
    """
    for role in _WAYS:
        lost = [one for one, two in things if one.role is role and two.role is None]
        won = [one for one, two in things if one.role is None and two.role is role]
        if any(a.kind is b.kind or {a.kind, b.kind} <= _CALLED for a in lost for b in won):
            return True
    return False


def traded_place(sides: Sides) -> bool:
    """Tell "move Ann and tell Bob" from "move Bob and tell Ann", "the keys to Ann and the bill to
    Bob" from "the bill to Ann and the keys to Bob": each stands right behind what the other did.
    """
    partner = sides.alignment.partner()
    mine, theirs = row_of(sides.reference.tokens), row_of(sides.query.tokens)
    moved: dict[tuple[Token, Token], Token] = {}
    for one, two in sides.alignment.pairs:
        if one.kind in _UNPLACED or two.kind in _UNPLACED:
            continue
        before, other = mine.before(one), theirs.before(two)
        known = partner.get(other) if other else None
        led = one.role is two.role and (one.role or (before and before.kind is Kind.ACTION))
        if led and before and known and known.value != before.value:
            moved[before, known] = one
    return any(
        one.kind is moved[there, here].kind
        and one.value != moved[there, here].value
        and {one, moved[there, here]}.isdisjoint((here, there))
        for (here, there), one in moved.items()
        if (there, here) in moved
    )


_LISTING = frozenset({"and", "or", "with", "&", "plus", "then"})


def traded_around(sides: Sides) -> bool:
    """Tell "spaces become underscores" from "underscores become spaces": two nouns on the other
    side each of the same word. In a list of things the order says nothing.
    """
    partner = sides.alignment.partner()
    theirs = _neighbours(sides.query)
    return any(
        partner.get(left) is theirs[two][1] and partner.get(right) is theirs[two][0]
        for one, (left, right) in _neighbours(sides.reference).items()
        if (two := partner.get(one)) in theirs
    )


@lru_cache(maxsize=MEMO)
def _neighbours(goal: Goal) -> dict[Token, Pair]:
    """For each word the nouns right before and right behind it, unless they are listed."""
    found: dict[Token, Pair] = {}
    row: list[Token] = []
    end = 0
    for token in goal.tokens:
        if token.value in _LISTING or any(sign in goal.text[end : token.start] for sign in ",;"):
            row = []
        end = token.end
        if token.kind is Kind.STOP:
            continue
        row.append(token)
        if len(row) > 2 and row[-3].kind is row[-1].kind is Kind.WORD:
            if is_possessive(goal.text, row[-3]):
                continue
            found[row[-2]] = (row[-3], row[-1])
    return found


_UNPLACED = frozenset({Kind.STOP, Kind.NUMBER, Kind.UNIT})
"""What may stand on either side of its thing: "32 characters", "length 32"."""


def comes_otherwise(sides: Sides) -> bool:
    """Tell "a.pdf first" from "b.pdf first", and "remind him on 30 June that it is due" from
    "remind him that it is due on 30 June".
    """
    partner = sides.alignment.partner()
    mine, theirs = _ranked_last(sides.reference), _ranked_last(sides.query)
    if mine and theirs and partner.get(mine) is not theirs:
        return True
    speakers = {_who_will(sides.reference), _who_will(sides.query)} - {""}
    if len(speakers) > 1:
        return True
    return _told_then(sides.reference, partner) or _told_then(sides.query, partner)


@lru_cache(maxsize=MEMO)
def _ranked_last(goal: Goal) -> Token | None:
    """The value that a closing "first" or "last" stands right behind."""
    if len(goal.tokens) < 2 or goal.tokens[-1].kind is not Kind.ORDER:
        return None
    before = goal.tokens[-2]
    return before if before.kind in ANCHORS or before.kind is Kind.WORD else None


_DATED = frozenset({Kind.DATE, Kind.DAY, Kind.TIME, Kind.NUMBER})


def _told_then(one: Goal, partner: dict[Token, Token]) -> bool:
    """Whether a date stands before "that" on one side, and on the other behind what is told."""
    that = next((t.start for t in one.tokens if t.word == "that" and t.kind is Kind.STOP), None)
    if that is None:
        return False
    dates = [partner[t] for t in one.tokens if t.kind in _DATED and t.start < that and t in partner]
    told = [partner[t] for t in one.tokens if t.start > that and t in partner]
    return any(what.start < date.start for date in dates for what in told if what not in dates)


_SUBJECTS = frozenset({"i", "we", "he", "she", "they", "you"})


@lru_cache(maxsize=MEMO)
def _who_will(goal: Goal) -> str:
    """Whether what is told is of the speaker or of another: "that I", "that he"; "" if neither."""
    told = (b.word for a, b in pairwise(goal.tokens) if a.word == "that" and b.word in _SUBJECTS)
    after = next(told, "")
    return "i" if after in ("i", "we") else after and "he"
