"""Evidence for and against "the query asks for what the reference asked", as numbers.

Each feature counts one kind of disagreement; cosine, overlap and containment say how alike the
two are, and ``clean`` that nothing disagrees.
The meaning of each name stands in FEATURES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from llmos_workers.learning.matching.actions import action_evidence
from llmos_workers.learning.matching.additions import adds
from llmos_workers.learning.matching.align import Alignment
from llmos_workers.learning.matching.binding import binding_evidence, count_changes
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.mood import mood_differs
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.sides import Sides
from llmos_workers.learning.matching.tokens import ANCHORS, CLOSED, MEMO, Kind, Token
from llmos_workers.learning.matching.unsaid import plural
from llmos_workers.learning.matching.written import glued

FEATURES: dict[str, str] = {
    "cosine": "cosine of the two goals",
    "overlap": "share of all words that both goals have, as written",
    "containment": "the same, of the shorter goal's words",
    "anchor_missing": "values of the reference that the query lacks",
    "anchor_added": "values only the query has",
    "negation": "negations without a counterpart",
    "quantifier_missing": "all, each, only: only in the reference",
    "quantifier_added": "all, each, only: only in the query",
    "closed_missing": "formats, languages, units, dates, order words only in the reference",
    "closed_added": "the same, only in the query",
    "contrary": "opposite words on the two sides",
    "action_conflict": "another action on each side",
    "action_added": "actions only the query has",
    "action_missing": "actions only the reference has",
    "action_light": "create, run, provide, set: on one side only",
    "action_none": "no action in common, and one side has none",
    "action_lost": "the reference's own action has no counterpart",
    "head_conflict": "the main actions differ",
    "mood": "one asks what the other does, or they ask something else",
    "addition": "a clause that the other side says nothing of",
    "modifier": "a number, negation or order word belongs to another thing",
    "mass_added": "weight of open words only the query has",
    "mass_missing": "weight of open words only the reference has",
    "mass_both": "weight of open words replaced by others",
    "distance_added": "the same, less what token vectors explain",
    "distance_missing": "the same, for words only the reference has",
    "clause_added": "words only the query has, behind a conjunction",
    "clause_missing": "words only the reference has, behind a conjunction",
    "role_conflict": "source and destination differ",
    "role_unproved": "two like things in no said direction, or deeds in another order",
    "role_added": "a destination only the query has",
    "destructive": "a destructive action on one side only",
    "plural": "one thing on one side, several on the other",
    "slips": "pairs that hold only if a word is misspelled",
    "doubt": "any of the strong or hard objections",
    "clean": "no objection and no word left",
}

STRONG = (
    "anchor_missing",
    "anchor_added",
    "negation",
    "quantifier_added",
    "closed_added",
    "contrary",
    "modifier",
    "clause_added",
    "role_conflict",
    "role_unproved",
    "destructive",
    "mood",
    "addition",
)
"""Objections that no stored rewording excuses."""

HARD = (
    *STRONG,
    "closed_missing",
    "action_conflict",
    "action_added",
    "action_lost",
    "head_conflict",
)

_MAX_SLIPS = 2


@dataclass(frozen=True, slots=True)
class Vectors:
    """What vectors say about the two goals. Without embeddings, distances are estimated."""

    cosine: float
    reference: Embedding | None = None
    query: Embedding | None = None


def evidence(sides: Sides, vectors: Vectors, lex: Lexicon) -> dict[str, float]:
    """The value of every feature."""
    found = dict.fromkeys(FEATURES, 0.0)
    found["cosine"] = vectors.cosine
    found["overlap"], found["containment"] = _shared_words(sides.reference.text, sides.query.text)
    found["slips"] = float(sides.alignment.slips)
    _count_left(found, sides)
    paired = {token for pair in sides.alignment.pairs for token in pair}
    reference_words = _spoken(sides.reference.tokens, paired)
    query_words = _spoken(sides.query.tokens, paired)
    found["contrary"] = float(
        lex.contrary(reference_words, query_words) or _unlike(sides.alignment, lex)
    )
    found["plural"] = float(count_changes(sides))
    found.update(action_evidence(sides, lex))
    if _destroys(sides, lex) and (found["plural"] or _empties_otherwise(sides)):
        found["destructive"] = 1.0
    found.update(binding_evidence(sides, lex))
    found["mood"] = float(mood_differs(sides))
    found["addition"] = float(adds(sides))
    _weigh_open(found, sides, vectors, lex)
    found["clause_added"] = _clauses(sides.left_query, sides.query.tokens, lex)
    found["clause_missing"] = _clauses(sides.left_reference, sides.reference.tokens, lex)
    limited = any(token.kind is Kind.QUANTIFIER for token in sides.left_reference)
    recurs = _recurs(sides.left_reference, sides.reference.tokens)
    doubt = (
        limited or recurs or sides.alignment.slips > _MAX_SLIPS or any(found[name] for name in HARD)
    )
    found["doubt"] = float(doubt)
    found["clean"] = float(not doubt and found["mass_added"] + found["mass_missing"] == 0)
    return found


_RE_WRITTEN = re.compile(r"[\w./-]+")


def _shared_words(one: str, other: str) -> tuple[float, float]:
    """Words in common over all words, and over those of the shorter text; 0 without any."""
    mine, theirs = (set(_RE_WRITTEN.findall(text.lower())) for text in (one, other))
    both = len(mine & theirs)
    return both / max(len(mine | theirs), 1), both / max(min(len(mine), len(theirs)), 1)


def _recurs(left: Iterable[Token], tokens: Sequence[Token]) -> bool:
    """Whether what only one side says is "every" before a day: "every Monday" is not "Monday"."""
    follows = {one: two.kind for one, two in pairwise(tokens)}
    return any(t.kind is Kind.QUANTIFIER and follows.get(t) is Kind.DATE for t in left)


def _unlike(alignment: Alignment, lex: Lexicon) -> bool:
    """Whether a word left on one side is a look-alike of one left on the other."""
    return any(
        one.keys and lex.unlike_keys(one.keys, two.keys)
        for one in alignment.left_reference
        for two in alignment.left_query
    )


def as_vector(found: dict[str, float]) -> NDArray[np.float64]:
    """The features in their fixed order."""
    return np.array([found[name] for name in FEATURES], dtype=np.float64)


def _count_left(found: dict[str, float], sides: Sides) -> None:
    plain_closed = CLOSED - {Kind.NEGATION, Kind.QUANTIFIER}
    for side, left in (("missing", sides.left_reference), ("added", sides.left_query)):
        kinds = [token.kind for token in left]
        found["negation"] += kinds.count(Kind.NEGATION)
        found[f"quantifier_{side}"] = float(kinds.count(Kind.QUANTIFIER))
        found[f"anchor_{side}"] = float(sum(kind in ANCHORS for kind in kinds))
        found[f"closed_{side}"] = float(sum(kind in plain_closed for kind in kinds))


def _spoken(tokens: Sequence[Token], paired: set[Token]) -> set[str]:
    """The words of what has no partner, but for those that only say where a path lies."""
    before_path = {one for one, two in pairwise(tokens) if two.kind is Kind.PATH}
    return {
        form
        for token in tokens
        if token not in paired and not (token.word in _BELOW and token in before_path)
        for form in (token.word, token.value)
    }


_BELOW = frozenset({"under", "below", "in", "inside", "within"})


def _weigh_open(found: dict[str, float], sides: Sides, vectors: Vectors, lex: Lexicon) -> None:
    open_reference = [t for t in sides.left_reference if t.kind is Kind.WORD]
    open_query = [t for t in sides.left_query if t.kind is Kind.WORD]
    filler = _Filler(sides, lex)
    for side, mine, others, own, foreign in (
        ("added", open_query, open_reference, vectors.query, vectors.reference),
        ("missing", open_reference, open_query, vectors.reference, vectors.query),
    ):
        full = any(not filler.empty(t) or filler.names(t) for t in others)
        counted = [t for t in mine if full or not filler.empty(t)]
        weights = [lex.rarity(t.word) if t.text.islower() else 1.0 for t in counted]
        far = [_distance(token, own, foreign) for token in counted]
        found[f"mass_{side}"] = sum(weights)
        found[f"distance_{side}"] = sum(w * d for w, d in zip(weights, far, strict=True))
    found["mass_both"] = min(found["mass_added"], found["mass_missing"])


def _destroys(sides: Sides, lex: Lexicon) -> bool:
    return _orders_destruction(sides.reference.tokens, lex) or _orders_destruction(
        sides.query.tokens, lex
    )


@lru_cache(maxsize=MEMO)
def _orders_destruction(tokens: tuple[Token, ...], lex: Lexicon) -> bool:
    return any(t.kind is Kind.ACTION and t.value in lex.classes["destructive"] for t in tokens)


_CHOOSING = frozenset({"the", "all", "each", "every"})


@lru_cache(maxsize=MEMO)
def _telling(tokens: tuple[Token, ...]) -> set[Token]:
    """Words between an article and a noun: they tell which things are meant, "the small files"."""
    rows = zip(tokens, tokens[1:], tokens[2:], strict=False)
    return {
        word
        for before, word, noun in rows
        if before.value in _CHOOSING
        and word.kind is Kind.WORD
        and noun.kind is Kind.WORD
        and (word.word != "current" or plural(noun))
    }


@lru_cache(maxsize=MEMO)
def _owned(goal: Goal) -> set[Token]:
    """Nouns that are another one's: "Ann's team" is not Ann."""
    gaps = ((two, goal.text[one.end : two.start].strip()) for one, two in pairwise(goal.tokens))
    return {token for token, gap in gaps if gap in ("'s", "\u2019s")}


@lru_cache(maxsize=MEMO)
def _texts(goal: Goal) -> set[Token]:
    """The noun of "email the text of a.txt": a file's text is not the file."""
    return {one for one, two in pairwise(goal.tokens) if one.word == "text" and two.word == "of"}


_EMPTYING = frozenset({"clear", "wipe", "clean", "strip"})
_FILES = frozenset({Kind.FILE, Kind.PATH})


def _empties_otherwise(sides: Sides) -> bool:
    """Tell "clear a.txt", which leaves an empty file, from "delete a.txt"."""
    files = any(one.kind in _FILES for one, _ in sides.alignment.pairs)
    emptied = [
        any(t.kind is Kind.ACTION and _EMPTYING & set(t.word.split()) for t in goal.tokens)
        for goal in (sides.reference, sides.query)
    ]
    return files and emptied[0] != emptied[1]


class _Filler:
    """Which open words say nothing when they stand on one side only."""

    def __init__(self, sides: Sides, lex: Lexicon) -> None:
        self._words = lex.words["filler"]
        self._dull = lex.words["dull"]
        self._beside_file = lex.words["filler_beside_file"]
        owned = _owned(sides.reference) | _owned(sides.query)
        owned |= _texts(sides.reference) | _texts(sides.query)
        self._owned = owned | glued(sides.reference) | glued(sides.query)
        self._destroys = _destroys(sides, lex)
        self._telling = _telling(sides.reference.tokens) | _telling(sides.query.tokens)
        self._file = any(one.kind in (Kind.FILE, Kind.PATH) for one, _ in sides.alignment.pairs)

    def names(self, token: Token) -> bool:
        """Whether it names a thing, so that another on the other side is another thing."""
        return token.word not in self._dull

    def empty(self, token: Token) -> bool:
        if token in self._telling or token in self._owned:
            return False
        if token.word not in self._words and token.value not in self._words:
            return False
        if token.value in self._beside_file:
            return self._file
        return not self._destroys


_USUAL_DISTANCE = 0.5
"""Of a word to the nearest of another goal, where nobody measured it."""


def _distance(token: Token, own: Embedding | None, foreign: Embedding | None) -> float:
    """1 - best cosine of the token with any of the other goal's; 1 without token vectors."""
    if own is None or foreign is None:
        return _USUAL_DISTANCE
    mine = [vec for start, end, vec in own.tokens if start < token.end and end > token.start]
    if not mine or not foreign.tokens:
        return 1.0
    mean = np.mean(mine, axis=0)
    others = np.stack([vec for _, _, vec in foreign.tokens])
    return 1.0 - float((others @ mean).max()) / max(float(np.linalg.norm(mean)), 1e-9)


_REACH = 4
_TRANSPARENT = frozenset({"the", "a", "an", "my", "it", "its", "to", "is"})


def _clauses(left: Iterable[Token], tokens: Sequence[Token], lex: Lexicon) -> float:
    """How many of the words left are led in by a conjunction."""
    place = {token: at for at, token in enumerate(tokens)}
    count = 0
    for token in left:
        if token.kind is not Kind.WORD and token.word in lex.words["weak"]:
            continue
        at = place[token]
        leads = (t.value for t in reversed(tokens[max(0, at - _REACH) : at]) if t.kind is Kind.STOP)
        lead = next((value for value in leads if value not in _TRANSPARENT), None)
        count += lead in lex.words["coordination"]
    return float(count)
