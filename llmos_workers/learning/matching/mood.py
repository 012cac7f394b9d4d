"""Does a goal ask for a deed, or what is or was done? "Has the invoice been sent?" is not "send the
invoice", though both say the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.tokens import MEMO, Kind, Role, Token, plain_typography

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides


class Stance(StrEnum):
    """What a goal wants."""

    DEED = "deed"
    """That something be changed."""
    MAKING = "making"
    """That something be made; an answer is made, too."""
    ANSWER = "answer"
    """To know something."""
    YES_OR_NO = "yes or no"
    """To know whether it is so."""
    UNSAID = "unsaid"
    """Names a thing only."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What a text asks."""

    spans: tuple[tuple[int, int], ...]
    """Where it speaks of what is, was or will be, not of what to do."""
    words: frozenset[str]
    """Its question words that no other may replace: where, when, why, how heavy."""
    yes_or_no: bool
    marked: bool
    """Whether the last sentence ends with a question mark and nothing is asked politely."""

    def holds(self, token: Token) -> bool:
        """Whether a token stands inside a question."""
        return any(start <= token.start < end for start, end in self.spans)


_SENTENCE = re.compile(r"[^.?!;\n]+(?:[.!?;](?=\S)[^.?!;\n]+)*[.?!;\n]*")
_GREETING = re.compile(
    r"[\s,:\u2013-]*(?:(?:hey|hi|hello|please|pls|plz|so|ok|okay|well|quick question|btw|"
    r"also|now|and|then|(?:can|could|will|would) (?:you|we|i|someone)(?: please| kindly)?)\b"
    r"[\s,:]*)*"
)
_REQUEST = re.compile(r"\b(?:can (?:you|we|i|some)|could|would|will you|mind|please)\b")
_WHETHER = re.compile(
    r"(?:is|are|am|was|were|does|did|has|had|isn't|aren't|wasn't|weren't|doesn't|didn't|hasn't)\b"
    r"(?! (?:it possible|there (?:a|any) (?:way|chance)))"
    r"|will (?!you\b|we\b|i\b)"
    r"|can (?!you\b|we\b|i\b|some)[^.?!]* be "
)
_WHETHER_MARKED = re.compile(
    r"(?:do (?:the|my|our|we|i|they|all|any|these|those|both)|have (?!you to))\b"
)
_WHETHER_LATER = re.compile(r"(?:->|[,:\u2013-])\s*(?:is|are|was|were|does|did|has) ")
_BEEN = re.compile(r"\b(?:been|already|yet)\b")
_ASKED = re.compile(r"(what|which|who|whom|whose|where|when|why|how)(?:'?s|'re)?\b(?: (\w+))?")
_WANTED = re.compile(r"what (?:i|we)(?:'m|'d| am| want| need| would)\b")
_TOLD = re.compile(
    r"\b(check|see|verify|confirm|find out|tell(?: me| us)?|let (?:me|us) know|look up|"
    r"show(?: me| us)?|know|determine|figure out|look|say) (?:again )?"
    r"(whether|if|that|what|which|who|whose|where|when|why|how|once|as soon as)\b(?: (\w+))?"
)
_FREE = re.compile(r"\b(?:free|available)\b")
"""Who asks when he is free wants a gap found."""
_STATES = frozenset({"check", "see", "verify", "confirm"})
_CLAUSE = re.compile(r",? (?:and|then|and then) (?:please |also )?([a-z-]+)\b")
_DONE = re.compile(
    r"\b(?:i|we|he|she|they)(?:'ve|'d)? (?:have |had |already |just |then )*"
    r"([a-z]+ed|sent|wrote|made|put|gave|bought|paid|built|set|took)\b"
)
_HOW = frozenset(
    {"heavy", "long", "old", "far", "fast", "tall", "wide", "big", "large", "high", "deep", "often",
     "soon", "late", "early", "hot", "cold", "warm", "full", "expensive", "good", "bad"}
)  # fmt: skip
_TELLING_WORDS = frozenset({"where", "when", "why", "once", "as soon as"})


@lru_cache(maxsize=MEMO)
def questions(text: str) -> Questions:
    """Find what a goal's text asks. Never raises."""
    plain = plain_typography(text).lower()
    spans: list[tuple[int, int]] = []
    words: set[str] = set()
    yes_or_no = marked = False
    for sentence in _SENTENCE.finditer(plain):
        start, end = sentence.span()
        opening = _GREETING.match(plain, start, end)
        begin = opening.end() if opening else start
        asks = plain[start:end].rstrip().endswith("?")
        marked = asks and not _REQUEST.search(plain)
        polite = bool(_REQUEST.search(plain, start, begin))
        if not polite and _is_whether(plain, begin, end, asks=asks):
            yes_or_no = True
            spans.append((begin, _clause_end(plain, begin, end)))
        elif found := _is_asked(plain, begin, end, asks=asks):
            free = found[1] == "when" and _FREE.search(plain, begin, end)
            words |= set() if free else _kept(found[1], found[2])
            spans.append((begin, _clause_end(plain, begin, end)))
        for told in _TOLD.finditer(plain, start, end):
            if told[2] == "that" and told[1] not in _STATES:
                continue
            yes_or_no |= told[2] in ("whether", "if", "that")
            words |= {f"told {word}" for word in _kept(told[2], told[3])}
            spans.append((told.start(2), _clause_end(plain, told.start(2), end)))
        spans += [done.span(1) for done in _DONE.finditer(plain, start, end)]
    return Questions(tuple(spans), frozenset(words), yes_or_no, marked)


def _is_whether(text: str, begin: int, end: int, *, asks: bool) -> bool:
    if _WHETHER.match(text, begin, end) or (asks and _WHETHER_LATER.search(text, begin, end)):
        return True
    if _WHETHER_MARKED.match(text, begin, end):
        return asks or (text.startswith("have", begin) and bool(_BEEN.search(text, begin, end)))
    return False


def _is_asked(text: str, begin: int, end: int, *, asks: bool) -> re.Match[str] | None:
    """The question word that opens the sentence; not that of "when it rains, close the window"."""
    found = _ASKED.match(text, begin, end)
    if found is None or _WANTED.match(text, begin, end):
        return None
    condition = found[1] in ("when", "where") and not asks and "," in text[begin:end]
    return None if condition else found


def _kept(word: str, after: str | None) -> set[str]:
    if word == "whose":
        return {word}
    if word == "how" and after in _HOW:
        return {f"how {after}"}
    return {word} & _TELLING_WORDS


def _clause_end(text: str, begin: int, end: int) -> int:
    """Where a question ends: at the sentence's end, or where an order follows."""
    for joint in _CLAUSE.finditer(text, begin, end):
        word = joint[1]
        if word in _orders() and not word.endswith(("ed", "ing")):
            return joint.start()
    return end


@cache
def _orders() -> frozenset[str]:
    lex = lexicon()
    return frozenset(w for w in lex.tables["action"] if " " not in w) | lex.words["weak"]


_LOOKING = frozenset({"show", "get", "find", "check", "read", "count", "measure", "test", "keep"})
"""Deeds that come to an answer."""
_MAKING = frozenset(
    ("create", "run", "provide", "add", "calc", "summarize", "compare", "plot", "explain",
     "translate", "convert", "forecast", "rank", "sort", "group", "filter", "match", "monitor",
     "scrape", "extract", "document", "download", "rate")
)  # fmt: skip
"""Deeds whose outcome may be told or written."""
_PLACES = frozenset({Kind.FILE, Kind.PATH})
_TO_WHOM = frozenset({"tell", "give", "grant"})
_CAUSING = frozenset({"make", "run", "execute", "have", "let"})
_KNOWN_THINGS = frozenset(
    {"all", "every", "each", "the", "my", "our", "this", "it", "them", "these", "those"}
)


@lru_cache(maxsize=MEMO)
def stance(goal: Goal) -> Stance:
    """What a goal wants, by its verbs outside of questions."""
    asked = questions(goal.text)
    known = {t.value for t in _orders_of(goal, asked) if not t.value.startswith("x_")}
    if known - _LOOKING - _MAKING or _sends_on(goal, known, asked) or _causes(goal, asked):
        return Stance.DEED
    if asked.yes_or_no:
        return Stance.YES_OR_NO
    if known & _MAKING:
        return Stance.MAKING
    if known or asked.spans or asked.marked:
        return Stance.ANSWER
    return Stance.UNSAID


_WISHING = frozenset(
    {"get", "have", "want", "need", "should", "must", "to", "needs", "could", "can"}
)
_BEING = frozenset({"is", "are", "was", "were", "been", "being", "has", "have", "had", "not"})


def _orders_of(goal: Goal, asked: Questions) -> Iterator[Token]:
    """The verbs that ask for their deed: not "the archived files", but "I want them archived"."""
    wished, last = False, ""
    for token, after in zip_longest(goal.tokens, goal.tokens[1:]):
        wished |= token.word in _WISHING
        if token.kind is Kind.ACTION and not asked.holds(token):
            ends = after is None or after.kind is Kind.STOP
            wish = wished and ends and last not in _BEING and token.word.endswith("ed")
            if wish or not token.describes:
                yield token
        last = token.word


def _sends_on(goal: Goal, known: set[str], asked: Questions) -> bool:
    """Whether an arrow says what becomes what, or what is fetched is put somewhere."""
    if any(t.value == "->" for t in goal.tokens[1:]):
        return not asked.yes_or_no
    placed = any(t.role is Role.DESTINATION and t.kind in _PLACES for t in goal.tokens)
    return placed and (not known or "get" in known) and not asked.spans


def _causes(goal: Goal, asked: Questions) -> bool:
    """Whether something known is changed ("make all of them executable", "run the script"), or
    somebody else is told.
    """
    return any(
        (one.word in _CAUSING and two.word in _KNOWN_THINGS and not asked.holds(one))
        or (one.word in _TO_WHOM and _person(goal, two))
        for one, two in pairwise(goal.tokens)
    )


def _person(goal: Goal, token: Token) -> bool:
    """Whether a noun or name stands alone: "give Ann", "give user maria", not "Apple's price"."""
    owner = goal.text[token.end : token.end + 2] in ("'s", "\u2019s")
    named = token.text[0].isupper() or token.value == "user"
    return named and token.word != "i" and not owner


_APART = tuple(
    map(
        frozenset,
        (
            (Stance.DEED, Stance.ANSWER),
            (Stance.DEED, Stance.YES_OR_NO),
            (Stance.MAKING, Stance.YES_OR_NO),
            (Stance.UNSAID, Stance.YES_OR_NO),
        ),
    )
)


def mood_differs(sides: Sides) -> bool:
    """Whether one goal asks what the other one does, or asks something else of the same thing."""
    mine, theirs = questions(sides.reference.text), questions(sides.query.text)
    if mine.words != theirs.words:
        return True
    if frozenset((stance(sides.reference), stance(sides.query))) in _APART:
        return True
    first = {*sides.reference.tokens[:1], *sides.query.tokens[:1]}
    return any(
        _told_and_ordered(one, two, mine, theirs, first)
        or _told_and_ordered(two, one, theirs, mine, first)
        for one, two in sides.alignment.pairs
    )


def _told_and_ordered(
    told: Token, order: Token, there: Questions, here: Questions, first: set[Token]
) -> bool:
    """Whether a deed is spoken of on one side and asked for on the other."""
    verb = order.kind is Kind.ACTION or (order in first and told.word.endswith("ed"))
    past = told.word.endswith("ed")
    deed = verb and (past or order.value not in _LOOKING | _MAKING)
    return deed and not order.describes and there.holds(told) and not here.holds(order)
