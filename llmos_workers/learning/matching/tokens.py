"""What a goal is made of: typed tokens, and the scanner that cuts a text into raw pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a token is."""

    # Anchors: must be equal on both sides, or be bound to a slot.
    QUOTE = "quote"
    URL = "url"
    EMAIL = "email"
    PATH = "path"
    FILE = "file"
    NUMBER = "number"
    EXPRESSION = "expression"
    CHANNEL = "channel"
    IDENTIFIER = "identifier"
    DAY = "day"
    TIME = "time"
    SIZE = "size"
    GLOB = "glob"
    # Closed words: a small set each, equal by class.
    NEGATION = "negation"
    QUANTIFIER = "quantifier"
    ORDER = "order"
    COMPARISON = "comparison"
    UNIT = "unit"
    DATE = "date"
    FORMAT = "format"
    LANGUAGE = "language"
    SPEECH = "speech"
    DIRECTION = "direction"
    # Open words.
    ACTION = "action"
    WORD = "word"
    STOP = "stop"


ANCHORS = frozenset(
    {
        Kind.QUOTE,
        Kind.URL,
        Kind.EMAIL,
        Kind.PATH,
        Kind.FILE,
        Kind.NUMBER,
        Kind.EXPRESSION,
        Kind.CHANNEL,
        Kind.IDENTIFIER,
        Kind.DAY,
        Kind.TIME,
        Kind.SIZE,
        Kind.GLOB,
    }
)
CLOSED = frozenset(
    {
        Kind.NEGATION,
        Kind.QUANTIFIER,
        Kind.ORDER,
        Kind.COMPARISON,
        Kind.UNIT,
        Kind.DATE,
        Kind.FORMAT,
        Kind.LANGUAGE,
        Kind.SPEECH,
        Kind.DIRECTION,
    }
)
TYPED = ANCHORS | CLOSED


MEMO = 1_024
"""Of how many goals is kept what was read out of them: a goal is held against many others."""


class Role(StrEnum):
    """Which way a thing goes, where the goal says so by a preposition or an arrow."""

    SOURCE = "source"
    DESTINATION = "destination"
    BY = "by"
    """A number after "by": an amount of change, not a count."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A piece of a goal. Compared by identity: the same word twice is two tokens."""

    text: str
    """As it stands in the goal."""
    kind: Kind
    value: str
    """Canonical form; equal values of one kind mean the same."""
    start: int
    end: int
    keys: frozenset[str] = frozenset()
    """What an open word may match by: ``s:`` stem, ``c:`` synonym class, ``a:`` action class."""
    role: Role | None = None
    word: str = field(init=False, repr=False)
    """The text in lower case."""
    action: str | None = field(init=False, repr=False)
    """The action class this word belongs to, also as a noun."""

    def __post_init__(self) -> None:
        """Worked out once: a comparison asks for both of them a thousand times."""
        action = next((key[2:] for key in self.keys if key.startswith("a:")), None)
        object.__setattr__(self, "word", self.text.lower())
        object.__setattr__(self, "action", action)

    @property
    def describes(self) -> bool:
        """Whether its form is a verb's that tells of a deed and orders none: "stopped"."""
        return self.word.endswith(("ed", "ing"))


_SCANNER = re.compile(
    r"""(?P<word_symbol>(?<!\w)w/o?(?!\w)|[&€£%<@](?=\s)|(?<!-)>)
    |(?P<quote>"[^"]+"|“[^”]+”|`[^`]+`|(?<!\w)'[^']+'(?!\w))
    |(?P<url>[a-z][a-z0-9+]{1,9}://[^\s,;]*[^\s,;.?!])
    |(?P<email>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)
    |(?P<arrow>->|→|=>)
    |(?P<day>\b\d{4}-\d\d-\d\d\b)
    |(?P<path>(?<![\w./])\.\.(?![\w./])|(?<![\w/])(?:~|\.{1,2})?/[\w.*@+-]+(?:/[\w.*@+-]+)*/?
        |(?<![\w/.])[A-Za-z_.][\w.-]*(?:/[\w.*-]+)*/(?=[\s,;:?!]|$)
        |(?<![\w/.])(?=[\w./*-]*[A-Za-z])[\w.-]+(?:/[\w.*-]+)+)
    |(?P<expression>(?<!\S)[\w^*]+(?:\s*[-+*/^=<>]\s*[\w^.]+){2,}(?![\w/])
        |(?<![\w.])\d[\d.]*\s*[+*/^=]\s*\d[\d.]*(?![\w.]))
    |(?P<size>\d+\s*(?:x|\u00d7)\s*\d+|\d+\s*by\s*\d+(?!\d)
        (?!\s*(?:%|percent|(?:second|minute|hour|day|week|month|year|degree|point|step|euro|dollar)s?\b)))
    |(?P<time>\b\d{1,2}:\d\d(?:\s?[ap]\.?m\b)?|\b\d{1,2}\s?[ap](?:m\b|\.m\.?))
    |(?P<version>\bv\d[\w.]*(?:-[a-z]+[\d.]*)?\b)
    |(?P<mixed>(?<![\w.])\d+[a-z_]\w*)
    |(?P<number>(?:(?<=\s)-)?[$€£]?(?<![\w.])\d[\d,]*(?:\.\d+)*%?)
    |(?P<glob>(?<!\w)[\w./-]*\*[\w./*-]*|\$\{?\w+\}?)
    |(?P<channel>[#@]\w[\w-]*)
    |(?P<file>(?<![\w.])\.?(?:[\w-]+\.)+[a-z][a-z0-9]{0,7}\b|(?<!\S)\.[a-z]\w+\b)
    |(?P<identifier>\b(?=\w*[_\d])[a-z_]\w*(?:-\w+)*\b|\b[a-z]+(?:-[a-z]+)*-\d[\w-]*(?:\.\d\w*)*\b
        |\b[a-z]{2,}-[a-z](?![\w-])
        |(?<![\w-])--?[a-z][\w-]*)
    |(?P<word>e-mails?\b|[^\W\d_]+(?:'[a-z]+)?(?:\+\+|\#)?)
    |(?P<symbol>[^\s\w.,;:!?'"()\[\]{}“”\u2018\u2019…\u2013\u2014-])""",
    re.VERBOSE | re.IGNORECASE,
)
_TRAILING_DOTS = frozenset({"path", "glob"})
_TYPOGRAPHY = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00a0": " ", "\u202f": " "})


def plain_typography(text: str) -> str:
    """The text with plain apostrophes and spaces; every character stays in its place."""
    return text.translate(_TYPOGRAPHY)


def scan(text: str) -> list[tuple[str, str, int, int]]:
    """(group, text, start, end) of every piece; group names are those of the expression."""
    found = []
    for match in _SCANNER.finditer(text):
        group, piece = str(match.lastgroup), match.group()
        if group in _TRAILING_DOTS:
            piece = piece.rstrip(".") or piece
        if piece:
            found.append((group, piece, match.start(), match.start() + len(piece)))
    return found
