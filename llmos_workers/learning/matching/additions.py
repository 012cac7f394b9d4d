"""What one goal asks on top of the other: "and print it", "and on its web page"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.tokens import MEMO, Kind, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_JOINTS = frozenset({"and", "then", "plus", "also"})
_PUTTING = frozenset({"put", "take", "thank"})
_TELLING = frozenset(
    {"show", "list", "display", "give", "tell", "report", "get", "return", "output", "print out",
     "let me know", "see"}
)  # fmt: skip
"""Who finds something tells it, asked or not."""
_ASKING = frozenset({"why", "how", "when", "where"})
_STILL_NOUNS = frozenset({"name", "title", "names", "titles"})
_ARTICLES = frozenset({"the", "a", "an", "my", "our", "its", "their", "also", "then"})
_BREAKS = frozenset(".;:,!?\n")


def adds(sides: Sides) -> bool:
    """Whether a clause of one goal has no word in common with the other goal, or one goal makes a
    program that does what the other does.
    """
    paired = {token for pair in sides.alignment.pairs for token in pair}
    clauses = (*_joined(sides.reference), *_joined(sides.query))
    if any(_of_its_own(clause, paired) for clause in clauses):
        return True
    return _programs(sides.reference) != _programs(sides.query)


@lru_cache(maxsize=MEMO)
def _joined(goal: Goal) -> Sequence[Sequence[Token]]:
    """The tokens behind each "and" or "then", up to the next one or a break."""
    clauses: list[list[Token]] = []
    clause: list[Token] | None = None
    last: Token | None = None
    for token in goal.tokens:
        gap = goal.text[last.end : token.start] if last else ""
        joint = token.kind is Kind.STOP and token.word in _JOINTS
        if clause is not None and (joint or not _BREAKS.isdisjoint(gap)):
            clauses.append(clause)
            clause = None
        if joint:
            clause = []
        elif clause is not None:
            clause.append(token)
        last = token
    return [said for said in (*clauses, clause) if said]


def _of_its_own(clause: Sequence[Token], paired: set[Token]) -> bool:
    """Whether a clause names one more thing, asks a question, or is all the goal's own."""
    if _another(clause, paired):
        return True
    if len(clause) == 1 and clause[0].word in _ASKING:
        return True
    said = [t for t in clause if t.kind is not Kind.STOP or t.word in _PUTTING]
    telling = all(t.word in _TELLING for t in said)
    return not telling and paired.isdisjoint(clause)


def _another(clause: Sequence[Token], paired: set[Token]) -> bool:
    """Whether one more thing follows: "line numbers and author", "the email and name columns"."""
    first = next((t for t in clause if t.word not in _ARTICLES), None)
    if first is None or first in paired:
        return False
    if first.kind is Kind.ACTION and first.word not in _TELLING:
        after = clause[clause.index(first) + 1 :][:1]
        return not after or (after[0].kind is Kind.STOP and after[0].word not in _ARTICLES)
    return first.kind is Kind.WORD or first.word in _STILL_NOUNS


_PROGRAMS = frozenset({"script", "program", "tool", "command", "function", "macro", "job", "bot"})
_WRITING = frozenset({"create"})
_PURPOSE = frozenset({"that", "which", "to", "for"})


@lru_cache(maxsize=MEMO)
def _programs(goal: Goal) -> bool:
    """Whether a goal makes something that does a deed: "write a script that copies x"."""
    tokens = goal.tokens
    made = any(t.kind is Kind.ACTION and t.value in _WRITING for t in tokens) or any(
        t.word in ("make", "need", "want") for t in tokens
    )
    return made and any(
        one.word in _PROGRAMS and two.word in _PURPOSE for one, two in pairwise(tokens)
    )
