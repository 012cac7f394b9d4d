"""Hold two goals against each other: one calibrated number, and the reasons in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmos_workers.learning.matching.align import align
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.matching.features import (
    FEATURES,
    HARD,
    STRONG,
    Vectors,
    evidence,
)
from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.model import Model, shipped_model
from llmos_workers.learning.matching.parse import parse, parse_beside
from llmos_workers.learning.matching.sides import sides_of
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Token
from llmos_workers.learning.signature import normalize_goal

Embed = Callable[[str], Embedding]

MAX_TOKENS = 300
"""Longer goals are followed only if they are exactly equal."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of holding a query against a reference."""

    confidence: float
    """Estimate of P(the query asks for what the reference asked), 0 to 1."""
    features: dict[str, float] = field(default_factory=dict)
    agreed: tuple[str, ...] = ()
    """In words, for people."""
    differed: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    """Names of the objections that no stored rewording excuses."""
    mismatch: bool = False
    """Whether a value or kind of one goal stands where the other has its own: certainly another
    job, unless a slot binds it."""
    misleading: bool = False
    """Whether the reference's way would lead a model astray: see _misleads."""


def compare(
    reference: str,
    query: str,
    embed: Embed,
    *,
    model: Model | None = None,
    cosine: float | None = None,
) -> Comparison:
    """Estimate whether ``query`` asks for exactly what ``reference`` asked.

    With a known ``cosine`` (of the index) nothing is embedded: whether words are left over
    decides about following, and how near their vectors are only about how low the rest lies.
    """
    if normalize_goal(reference) == normalize_goal(query):
        return Comparison(1.0, dict.fromkeys(FEATURES, 0.0), ("the same text",))
    lex = lexicon()
    first = parse(reference)
    second = parse_beside(query, first)
    if max(len(first.tokens), len(second.tokens)) > MAX_TOKENS:
        return Comparison(0.0, {}, (), ("too long to be compared safely",), ("anchor_added",))
    alignment = align(first, second, lex)
    sides = sides_of(first, second, alignment, lex)
    if cosine is None:
        known, asked = embed(reference), embed(query)
        vectors = Vectors(float(known.vector @ embed(second.respelled).vector), known, asked)
    else:
        vectors = Vectors(cosine)
    found = evidence(sides, vectors, lex)
    return Comparison(
        confidence=(model or shipped_model()).probability(found),
        features=found,
        agreed=tuple(dict.fromkeys(one.text for one, _ in alignment.pairs)),
        differed=_differences(found, sides.left_reference, sides.left_query),
        strong=tuple(name for name in STRONG if found[name]),
        mismatch=_exchanges(found, sides.left_reference, sides.left_query),
        misleading=_misleads(found, sides.left_reference, sides.left_query),
    )


_OTHER_JOB = frozenset({Kind.FORMAT, Kind.LANGUAGE, Kind.SPEECH, Kind.DIRECTION})


def _misleads(
    found: dict[str, float], left_reference: Iterable[Token], left_query: Iterable[Token]
) -> bool:
    """Whether one side's language, format or direction stands where the other has its own: what
    was done then is no help with another language, nor the other way round.
    """
    exchanged = {t.kind for t in left_reference} & {t.kind for t in left_query} & _OTHER_JOB
    return bool(exchanged or found["role_conflict"] or found["contrary"])


def _exchanges(
    found: dict[str, float], left_reference: Iterable[Token], left_query: Iterable[Token]
) -> bool:
    """Whether each side names a file, number, language ... that the other one does not. Only one
    side doing so is no proof: people leave out and spell out. Nor are two spellings of what may be
    one value (``.py`` and ``*.py``, 30 and 30m).
    """
    known, asked = list(left_reference), list(left_query)
    if {t.kind for t in known} & {t.kind for t in asked} & _OTHER_JOB:
        return True
    if not (found["anchor_missing"] and found["anchor_added"]):
        return False
    return not any(_within(a, b) or _within(b, a) for a in _cores(known) for b in _cores(asked))


def _cores(tokens: Iterable[Token]) -> set[str]:
    """The values among the tokens, letters and digits only."""
    cores = {re.sub(r"[\W_]+", "", t.text.lower()) for t in tokens if t.kind in ANCHORS}
    return cores - {""}


def _within(part: str, whole: str) -> bool:
    """Whether one value may be another one's spelling: a part of it that splits no number."""
    at = whole.find(part)
    while at >= 0:
        end = at + len(part)
        if not (whole[at - 1 : at].isdecimal() or whole[end : end + 1].isdecimal()):
            return True
        at = whole.find(part, at + 1)
    return False


_SPOKEN_ELSEWHERE = frozenset(
    {"anchor_missing", "anchor_added", "quantifier_added", "closed_added", "closed_missing"}
)
"""Objections that the words left over already show."""


def _differences(
    found: dict[str, float], left_reference: Iterable[Token], left_query: Iterable[Token]
) -> tuple[str, ...]:
    reasons = [f"only the recorded goal says {token.text!r}" for token in left_reference]
    reasons += [f"only the new goal says {token.text!r}" for token in left_query]
    reasons += [FEATURES[name] for name in HARD if found[name] and name not in _SPOKEN_ELSEWHERE]
    return tuple(dict.fromkeys(reasons))
