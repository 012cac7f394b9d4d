"""A value that got longer: "about black cats" for "about cats", "Paris, Texas" for "Paris"."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import Kind, Token

_ON_TOPIC = frozenset({"about", "on", "of", "for", "regarding", "concerning"})


def longer(
    old: Sequence[Token],
    theirs: Sequence[Token],
    *,
    goal: Goal,
    query: Goal,
    free: Collection[Token],
    fillers: Collection[str],
) -> list[Token]:
    """The query's row of words that has grown around ``theirs``, the partners of a value's words;
    empty if none has. What only names the kind of thing ("branch main") is no part of it.
    """
    row = list(query.tokens)
    low, high = row.index(theirs[0]), row.index(theirs[-1])
    if row[low : high + 1] != list(theirs):
        return []
    first = _premodified(row, low, old[0], goal, free)
    if any(token.word in fillers for token in row[first:low]):
        first = low
    last = _surnamed(row, high, query, free)
    grown = row[first : last + 1]
    return grown if len(grown) > len(theirs) else []


def _premodified(
    row: Sequence[Token], low: int, old: Token, goal: Goal, free: Collection[Token]
) -> int:
    """Where the words before a topic begin that only narrow it down; ``low`` if none do."""
    before = [t for t in goal.tokens if t.end <= old.start][-1:]
    if not before or before[0].value not in _ON_TOPIC:
        return low
    first = low
    while first and row[first - 1] in free and row[first - 1].kind is Kind.WORD:
        first -= 1
    return first if first and row[first - 1].value in _ON_TOPIC else low


def _surnamed(row: Sequence[Token], high: int, query: Goal, free: Collection[Token]) -> int:
    """Where a name ends that goes on behind the known one."""
    last = high
    while row[high].text[0].isupper() and last + 1 < len(row):
        name, gap = row[last + 1], query.text[row[last].end : row[last + 1].start]
        capital = name.kind is Kind.WORD and name.text[0].isupper()
        if not (capital and name in free and gap in (" ", ", ")):
            break
        last += 1
    return last
