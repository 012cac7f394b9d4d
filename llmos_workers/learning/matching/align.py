"""Pair the tokens of two goals one to one; what stays unpaired is evidence against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import ANCHORS, MEMO, TYPED, Kind, Token
from llmos_workers.learning.matching.typos import is_slip, stem

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal

Pair = tuple[Token, Token]
"""A token of the reference and its partner in the query."""

_MAX_LEFT = 40
"""More unpaired tokens than this need no closer look: the goals differ."""
_CARRIER_REACH = 5
_DEFINITE = frozenset({"the", "this", "that", "these", "those"})
_OPEN = frozenset({Kind.WORD, Kind.ACTION})


@dataclass
class Alignment:
    """The pairs, and what is left on each side, in the order of the text."""

    pairs: list[Pair] = field(default_factory=list)
    left_reference: list[Token] = field(default_factory=list)
    left_query: list[Token] = field(default_factory=list)
    slips: int = 0
    """Pairs that hold only if one word is a misspelling."""
    _partner: dict[Token, Token] = field(default_factory=dict, repr=False)

    def pair(self, one: Token, other: Token) -> None:
        """Take a pair out of what is left."""
        self.left_reference.remove(one)
        self.left_query.remove(other)
        self.pairs.append((one, other))

    def partner(self) -> dict[Token, Token]:
        """Partner of each paired token, both ways. Not to be changed: it is kept."""
        if len(self._partner) != 2 * len(self.pairs):
            self._partner = dict(self.pairs) | {other: one for one, other in self.pairs}
        return self._partner


def align(reference: Goal, query: Goal, lex: Lexicon) -> Alignment:
    """Pair what means the same: equal values first, then wider and wider."""
    known = _aligned(reference, query, lex)
    return Alignment([*known.pairs], [*known.left_reference], [*known.left_query], known.slips)


@lru_cache(maxsize=MEMO)
def _aligned(reference: Goal, query: Goal, lex: Lexicon) -> Alignment:
    """Kept, because a goal is held against a reference first, and then its slots are bound."""
    found = Alignment(left_reference=list(reference.said), left_query=list(query.said))
    _take(found, _value_key)
    _take(found, _text_key, lambda one, other: not _opposed(one, other, lex))
    _take(found, _stem_keys, lambda one, other: not _opposed(one, other, lex))
    carried = _carried(reference.tokens, lex) | _carried(query.tokens, lex)
    _take(found, _all_keys, lambda one, other: _same_thing(one, other, carried, lex))
    if max(len(found.left_reference), len(found.left_query)) > _MAX_LEFT:
        return found
    _take_near(found, lex)
    _unquote(found, _definite(reference.tokens) | _definite(query.tokens), lex)
    _join_compounds(found)
    _take_slips(found, lex)
    return found


@lru_cache(maxsize=MEMO)
def _carried(tokens: tuple[Token, ...], lex: Lexicon) -> set[Token]:
    """Nouns that are the deed of a verb before them: "make a copy", "send him a quick reminder".
    "Send the copy" speaks of a thing.
    """
    found = set()
    for at, token in enumerate(tokens):
        if token.kind is not Kind.WORD or token.action is None:
            continue
        before = tokens[max(0, at - _CARRIER_REACH) : at]
        definite = any(t.word in _DEFINITE for t in before[-2:])
        if not definite and any(t.word in lex.words["carrier"] for t in before):
            found.add(token)
    return found


def _same_thing(one: Token, other: Token, carried: set[Token], lex: Lexicon) -> bool:
    """Whether two words with a key in common mean the same here. Nouns do not because their verbs
    do: who lists reports, but a list is no report.
    """
    if lex.unlike_keys(one.keys, other.keys):
        return False
    if not (_is_noun(one) and _is_noun(other)):
        return True
    if any(not key.startswith("a:") for key in one.keys & other.keys):
        return True
    return one in carried and other in carried and one.action != "show"


def _is_noun(token: Token) -> bool:
    return token.kind is Kind.WORD or not {"a", "an", "the"}.isdisjoint(token.word.split())


def _take(
    found: Alignment,
    keys_of: Callable[[Token], Iterable[object]],
    fits: Callable[[Token, Token], bool] | None = None,
) -> None:
    """Pair tokens that share a key and fit: each with the first free one, best of its own role."""
    free: dict[object, list[Token]] = {}
    for token in found.left_query:
        for key in keys_of(token):
            free.setdefault(key, []).append(token)
    if not free:
        return
    taken: set[Token] = set()
    for token in found.left_reference:
        best: Token | None = None
        place = (True, -1)
        for key in keys_of(token):
            for other in free.get(key, ()):
                here = (other.role is not token.role, other.start)
                if other in taken or (best is not None and here >= place):
                    continue
                if fits is None or fits(token, other):
                    best, place = other, here
        if best is not None:
            taken |= {token, best}
            found.pairs.append((token, best))
    if taken:
        found.left_reference = [t for t in found.left_reference if t not in taken]
        found.left_query = [t for t in found.left_query if t not in taken]


def _opposed(one: Token, other: Token, lex: Lexicon) -> bool:
    """Whether equal verbs do the opposite: "switch it on" and "switch it off"."""
    return other.value in lex.antonyms.get(one.value, ())


def _value_key(token: Token) -> Iterable[object]:
    return ((token.kind, token.value),) if token.kind in TYPED else ()


def _text_key(token: Token) -> Iterable[object]:
    return () if token.kind in TYPED or token.kind is Kind.STOP else (token.word,)


def _stem_keys(token: Token) -> Iterable[object]:
    return () if token.kind in TYPED else (key for key in token.keys if key[0] == "s")


def _all_keys(token: Token) -> Iterable[object]:
    return () if token.kind in TYPED else token.keys


def _take_near(found: Alignment, lex: Lexicon) -> None:
    """Pair nouns that may mean the same thing."""
    for token in [t for t in found.left_reference if t.kind is Kind.WORD]:
        for other in found.left_query:
            near = frozenset({token.value, other.value}) in lex.near
            if near and other.kind is Kind.WORD and not lex.unlike_keys(token.keys, other.keys):
                found.pair(token, other)
                break


def _unquote(found: Alignment, definite: set[Token], lex: Lexicon) -> None:
    """Words in quotes on one side may stand bare on the other."""
    for quote in [t for t in found.left_reference if t.kind is Kind.QUOTE]:
        words = _bare_words(quote, found.left_query, lex)
        if words and not _told_apart(quote, words, definite):
            found.pair(quote, words[0])
            found.left_query = [t for t in found.left_query if t not in words]
    for quote in [t for t in found.left_query if t.kind is Kind.QUOTE]:
        words = _bare_words(quote, found.left_reference, lex)
        if words and not _told_apart(quote, words, definite):
            found.pair(words[0], quote)
            found.left_reference = [t for t in found.left_reference if t not in words]


def _bare_words(quote: Token, others: Sequence[Token], lex: Lexicon) -> list[Token]:
    """The tokens that spell a quote's words, all of them and in order; else none."""
    wanted = [w.strip(".,;:!?").lower() for w in quote.value.split()]
    dumb = lex.words["stop"] | lex.words["negation"]
    if not all(wanted) or (len(wanted) > 1 and all(word in dumb for word in wanted)):
        return []
    if len(wanted) > 1 and any(word in lex.tables["quantifier"] for word in wanted):
        return []
    candidates = [t for t in others if t.kind not in ANCHORS or t.kind is Kind.IDENTIFIER]
    chosen: list[Token] = []
    for word in wanted:
        after = chosen[-1].end if chosen else -1
        fits = (t for t in candidates if t.start > after and _spells(t, word))
        token = next(fits, None)
        if token is None:
            if word in lex.words["stop"]:
                continue
            return []
        chosen.append(token)
    return chosen


@lru_cache(maxsize=MEMO)
def _definite(tokens: tuple[Token, ...]) -> set[Token]:
    """What stands right behind "the" and its like."""
    return {after for before, after in pairwise(tokens) if before.word in _DEFINITE}


def _told_apart(quote: Token, chosen: Sequence[Token], definite: set[Token]) -> bool:
    """Whether the bare words ask for a thing where the quote is words: to write "the date" writes
    two words, to write the date writes which day it is.
    """
    named = not _DEFINITE.isdisjoint(quote.word.split())
    dated = any(token.kind is Kind.DATE for token in chosen)
    return named or dated or (chosen[0] in definite and quote not in definite)


def _spells(token: Token, word: str) -> bool:
    return token.word == word or f"s:{stem(word)}" in token.keys


def _join_compounds(found: Alignment) -> None:
    """Pair "docker file" with "dockerfile"."""
    for token in [t for t in found.left_reference if t.kind in _OPEN]:
        parts = _parts_of(token, found.left_query)
        if parts:
            found.pair(token, parts[0])
            found.left_query.remove(parts[1])
    for token in [t for t in found.left_query if t.kind in _OPEN]:
        parts = _parts_of(token, found.left_reference)
        if parts:
            found.pair(parts[0], token)
            found.left_reference.remove(parts[1])


def _parts_of(token: Token, others: Sequence[Token]) -> Pair | None:
    for one, two in pairwise(others):
        if one.word + two.word == token.word and 0 <= two.start - one.end <= 1:
            return one, two
    return None


def _take_slips(found: Alignment, lex: Lexicon) -> None:
    """Pair a word with one that is no word but looks like it."""
    for token in [t for t in found.left_reference if _may_slip(t)]:
        for other in found.left_query:
            if _may_slip(other) and _one_is_misspelled(token.word, other.word, lex):
                found.pair(token, other)
                found.slips += 1
                break


def _may_slip(token: Token) -> bool:
    text = token.text
    return token.kind in _OPEN and len(text) > 3 and text[1:].isalpha() and text[1:].islower()


def _one_is_misspelled(one: str, other: str, lex: Lexicon) -> bool:
    return lex.speller.is_word(one) != lex.speller.is_word(other) and is_slip(one, other)
