"""Two goals laid side by side: their pairs, and what each says that the other does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmos_workers.learning.matching.align import Alignment
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import ANCHORS, CLOSED, Kind, Token

_COUNTED_EACH = frozenset({Kind.NEGATION, Kind.NUMBER})
"""Saying these twice is not saying them once."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both goals with their pairs and vectors: all that evidence is drawn from."""

    reference: Goal
    query: Goal
    alignment: Alignment
    left_reference: tuple[Token, ...]
    """Unpaired, without second mentions of what the other side says too."""
    left_query: tuple[Token, ...]


def sides_of(reference: Goal, query: Goal, alignment: Alignment) -> Sides:
    """Drop second mentions from what is left on both sides."""
    return Sides(
        reference,
        query,
        alignment,
        _unsaid(alignment.left_reference, query.said),
        _unsaid(alignment.left_query, reference.said),
    )


def _unsaid(left: Iterable[Token], other: Sequence[Token]) -> tuple[Token, ...]:
    values = {(token.kind, token.value) for token in other if token.kind in ANCHORS | CLOSED}
    stems: dict[str, set[Kind]] = {}
    for token in other:
        for key in token.keys:
            if key.startswith("s:"):
                stems.setdefault(key, set()).add(token.kind)

    def said(token: Token) -> bool:
        if token.kind in _COUNTED_EACH:
            return False
        if (token.kind, token.value) in values:
            return True
        return any(stems.get(key, set()) - {token.kind} for key in token.keys if key[0] == "s")

    return tuple(token for token in left if not said(token))
