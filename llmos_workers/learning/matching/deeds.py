"""Are the deeds of a goal asked for in the same order? "Run the tests, then commit" is not "commit,
then run the tests", though both say the same words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.tokens import ANCHORS, MEMO, Kind, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

ORDERS = frozenset(
    {"then", "finally", "after", "afterwards", "afterward", "before", "next", "once", "first",
     "lastly", "later", "when", "until"}
)  # fmt: skip
_REFERS_BACK = frozenset({"it", "its", "them", "they", "this", "that", "these", "those", "both"})
JOINTS = frozenset({"and", "then", "or", "finally", "also", "please", "afterwards", "next"})
_BREAK = re.compile(r"[;.,:!?\n]")
_NAMES = ANCHORS - {Kind.NUMBER, Kind.SIZE, Kind.TIME, Kind.DAY}


def deeds_moved(sides: Sides) -> bool:
    """Whether two deeds traded places that may have to do with each other. Deeds on things of
    their own, which nobody put in an order, may be done in any.
    """
    if _followed_otherwise(sides):
        return True
    verbs = frozenset(
        t.word for t in (*sides.reference.tokens, *sides.query.tokens) if t.kind is Kind.ACTION
    )
    mine, theirs = clauses(sides.reference, verbs), clauses(sides.query, verbs)
    if min(len(mine), len(theirs)) < 2:
        return False
    partner = sides.alignment.partner()
    home = {token: at for at, clause in enumerate(theirs) for token in clause}
    places = [_place(clause, partner, home) for clause in mine]
    loose = not (_ordered(sides.reference.tokens) or _ordered(sides.query.tokens))
    for first, second in combinations(range(len(mine)), 2):
        one, two = places[first], places[second]
        if one is None or two is None or one <= two:
            continue
        if _says_when(mine[first]) or _says_when(mine[second]):
            continue
        if not (loose and _apart(mine[first], mine[second])):
            return True
    return False


_STEPS = frozenset({"and", "then", ","})
_OF_STEPS = frozenset({"it", "them"})


def _followed_otherwise(sides: Sides) -> bool:
    """Whether what comes second on one side, by "then" or as done to "it" or "them", comes first
    on the other: also where the deeds are words that no table knows as verbs.
    """
    partner = sides.alignment.partner()
    mine, theirs = _second(sides.reference), _second(sides.query)
    if not (mine and theirs):
        return False
    return any(
        head in partner and partner[head] in _all_but(other, goal)
        for head, other, goal in (
            (mine[0], theirs, sides.query),
            (theirs[0], mine, sides.reference),
        )
    )


def _all_but(second: Sequence[Token], goal: Goal) -> set[Token]:
    return set(goal.tokens) - set(second)


@lru_cache(maxsize=MEMO)
def _second(goal: Goal) -> list[Token]:
    """What a goal says of its second step, without stop words; empty if it has none."""
    tokens = goal.tokens
    for at in range(len(tokens) - 1, 0, -1):
        gap = goal.text[tokens[at - 1].end : tokens[at].start]
        if tokens[at].word not in _STEPS and "," not in gap:
            continue
        behind = [t for t in tokens[at:] if t.kind is not Kind.STOP]
        said = {t.word for t in tokens[at:]}
        if behind and ("then" in said or not said.isdisjoint(_OF_STEPS) or _takes_on(tokens, at)):
            return behind
    return []


def _takes_on(tokens: Sequence[Token], at: int) -> bool:
    """Whether the second of two steps speaks of what the first left: "sort the lines and take the
    first ten".
    """
    return any(t.word in ("take", "keep") for t in tokens[at:])


def clauses(goal: Goal, verbs: frozenset[str] = frozenset()) -> list[list[Token]]:
    """The tokens from each verb that begins a clause to the next, the verb first; what stands
    before the first verb goes with it. ``verbs``: words that the other goal uses as such.
    """
    found: list[list[Token]] = []
    before: list[Token] = []
    last: Token | None = None
    for token in goal.tokens:
        if _begins(goal.text, last, token, verbs):
            found.append([token, *before])
            before = []
        elif found:
            found[-1].append(token)
        else:
            before.append(token)
        last = token
    return found


def _begins(text: str, last: Token | None, token: Token, verbs: frozenset[str]) -> bool:
    """Whether a clause begins with the token: a verb behind a break or a conjunction."""
    if token.kind is Kind.ACTION:
        return True
    if token.action is None:
        return token.word in verbs and last is not None and last.word in JOINTS
    if last is None or last.word in JOINTS:
        return True
    return _BREAK.search(text, last.end, token.start) is not None


def _place(
    clause: Sequence[Token], partner: Mapping[Token, Token], home: Mapping[Token, int]
) -> int | None:
    """Which clause of the other side says what this one does: the one that has its verb, else
    most of its words.
    """
    found = [home[partner[token]] for token in clause if partner.get(token) in home]
    if found and partner.get(clause[0]) in home:
        return found[0]
    votes = Counter(found)
    return min(votes, key=lambda at: (-votes[at], at), default=None)


def _ordered(tokens: Sequence[Token]) -> bool:
    return any(token.word in ORDERS or token.kind is Kind.ORDER for token in tokens)


def _says_when(clause: Sequence[Token]) -> bool:
    """Whether a clause says its own moment: "text me when it arrives" may stand anywhere."""
    return clause[0].kind is Kind.WORD and any(token.word == "when" for token in clause)


def _apart(one: Sequence[Token], two: Sequence[Token]) -> bool:
    """Whether two clauses name things of their own, and none of the other's."""
    names = [{t.value.lower() for t in clause if t.kind in _NAMES} for clause in (one, two)]
    if Kind.WORD in (one[0].kind, two[0].kind):  # a deed we know nothing of: "mute channel 9"
        names = [known | _numbered(c) for known, c in zip(names, (one, two), strict=True)]
    refers = any(t.word in _REFERS_BACK for t in (*one, *two))
    return all(names) and names[0].isdisjoint(names[1]) and not refers


def _numbered(clause: Sequence[Token]) -> set[str]:
    """What a clause names by a number behind its noun: "channel 9", no "30 seconds"."""
    return {
        f"{noun.value} {number.value}"
        for noun, number in pairwise(clause[1:])
        if noun.kind is Kind.WORD and number.kind is Kind.NUMBER
    }
