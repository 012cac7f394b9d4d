"""Two goals laid side by side: their pairs, and what each says that the other does not."""

from __future__ import annotations

from dataclasses import dataclass

from llmos_workers.learning.matching.align import Alignment
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import Token
from llmos_workers.learning.matching.unsaid import unsaid


@dataclass(frozen=True, slots=True)
class Sides:
    """Both goals with their pairs and vectors: all that evidence is drawn from."""

    reference: Goal
    query: Goal
    alignment: Alignment
    left_reference: tuple[Token, ...]
    """Unpaired, without second mentions of what the other side says too."""
    left_query: tuple[Token, ...]


def sides_of(reference: Goal, query: Goal, alignment: Alignment, lex: Lexicon) -> Sides:
    """Drop what says nothing more from what is left on both sides."""
    return Sides(
        reference,
        query,
        alignment,
        unsaid(alignment.left_reference, reference, query, alignment, lex),
        unsaid(alignment.left_query, query, reference, alignment, lex),
    )
