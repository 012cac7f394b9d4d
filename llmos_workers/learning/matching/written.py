"""Where a written word begins and ends: a value is a whole one, never "www" of "www-data"."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.tokens import MEMO, Kind, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal

_EDGE = re.compile(
    r"[\s,;()\[\]{}\"'`<>|\u201c\u201d\u2018\u2019\u2192\u2026\u2013\u2014]|->|=>|\.{3}"
)
_SENTENCE = ".,;:!?"
_MEASURED = frozenset({Kind.NUMBER, Kind.SIZE, Kind.TIME, Kind.DAY, Kind.DATE, Kind.UNIT})
_RANGED = re.compile(r"[-/.:]\d|\d[-/.:]$")
_JOINTS = re.compile(r"[:=@]")


def written_word(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of the written word, or row of words, around a span: without quotes, brackets and
    the punctuation of the sentence.
    """
    low = max((edge.end() for edge in _EDGE.finditer(text, 0, start)), default=0)
    edge = _EDGE.search(text, end)
    high = edge.start() if edge else len(text)
    while high > end and text[high - 1] in _SENTENCE:
        high -= 1
    return low, high


def rest_of_word(text: str, start: int, end: int) -> tuple[str, str]:
    """What is written to a span without a space, before and behind it, in lower case."""
    low, high = written_word(text, start, end)
    return text[low:start].lower(), text[end:high].lower()


@lru_cache(maxsize=MEMO)
def glued(goal: Goal) -> frozenset[Token]:
    """Words that a hyphen joins to another one: "app" in "main-app" is no word by the way."""
    found: set[Token] = set()
    for one, two in pairwise(goal.tokens):
        if two.start - one.end == 1 and goal.text[one.end] == "-":
            found |= {one, two}
    return frozenset(found)


def measured(token: Token, rest: tuple[str, str]) -> bool:
    """Whether a token is a measure, whose unit may be written to it ("45min", "50%"), and no end
    of a range ("30-40").
    """
    return token.kind in _MEASURED and not any(_RANGED.search(part) for part in rest)


_CAPITALS_BEHIND = re.compile(r" [A-Z]{2,4}(?=[\s,;.!?)]|$)")
_CAPITAL_BEFORE = re.compile(r"(?<=[a-z] )[A-Z][a-z]+ $")


def named_around(text: str, start: int, end: int, closed: Collection[str]) -> tuple[int, int]:
    """The span of a name with words of its own that elsewhere are closed ones: "AS" of "Nordlys
    AS", "Two" of "Two Sisters". ``closed``: such words, in lower case.
    """
    if not text[start:end][:1].isupper() or text.isupper():
        return start, end
    behind = _CAPITALS_BEHIND.match(text, end)
    if behind and behind[0].strip().lower() in closed:
        end = behind.end()
    before = _CAPITAL_BEFORE.search(text, 0, start)
    if before and before[0].strip().lower() in closed:
        start = before.start()
    return start, end


def joined(value: str) -> str:
    """The signs that join the parts of one written word (":" of "app:dev", "@", "="); empty for
    anything else.
    """
    return "" if " " in value or "://" in value else "".join(_JOINTS.findall(value))


def parts(word: str) -> set[str]:
    """The parts that such signs join, in lower case."""
    return {part for part in _JOINTS.split(word.lower()) if part}


def joined_words(text: str, signs: str) -> list[tuple[int, int]]:
    """Spans of the words of a text that the same signs join."""
    found = []
    for match in re.finditer(r"\S+", text):
        inner = re.search(r"\w", match[0])
        if inner is None:
            continue
        at = match.start() + inner.start()
        low, high = written_word(text, at, at + 1)
        if joined(text[low:high]) == signs:
            found.append((low, high))
    return found
