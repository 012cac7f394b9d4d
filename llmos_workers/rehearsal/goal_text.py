"""A goal as the scripts see it: quoted texts and file names set apart from its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

EXTENSIONS = (
    "py|js|mjs|ts|sh|bash|rs|rb|go|java|c|cpp|md|txt|csv|tsv|json|jsonl|yaml|yml|toml|ini|cfg|"
    "log|html|css|xml|sql|rst|conf|bak|lst|dat|text"
)
FILE = re.compile(rf"(?<![\w@/.])(?:\./)?((?:[\w-]+/)*\w[\w.-]*\.(?:{EXTENSIONS}))(?![\w@])", re.I)
QUOTE = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|`([^`]+)`|\u2018([^\u2019]+)\u2019|(?<!\w)'((?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w)"
)
QUOTE_MARK = "¶"
"""Stands in ``words`` where a quoted text was."""

FILE_MARK = "·"
"""Stands in ``words`` before the extension of a file that was named there."""

TARGET_CUES = [
    "to",
    "into",
    "in",
    "as",
    "become",
    "becomes",
    "be",
    "->",
    "=>",
    "→",
    "produce",
    "save",
    "saved",
    "output",
    "write",
    "generate",
    "emit",
    "out",
    "yield",
    "yields",
    "build",
    "make",
    "create",
    "want",
    "need",
    "give",
    "me",
    "called",
    "named",
    "call",
    "name",
    "store",
]
SOURCE_CUES = [
    "from",
    "of",
    "read",
    "convert",
    "take",
    "turn",
    "transform",
    "parse",
    "given",
    "export",
    "change",
    "using",
    "with",
    "load",
    "rename",
    "copy",
    "move",
    "have",
    "duplicate",
    "clone",
    "reading",
    "open",
    "reformat",
    "translate",
    "rewrite",
]
TELLING_NAMES = frozenset(["readme", "license", "licence"])
CUE_WORDS = 4
"""How many words before a mention may hold its cue."""


@dataclass(frozen=True)
class GoalText:
    """A goal taken apart."""

    text: str
    quotes: tuple[str, ...]
    files: tuple[str, ...]
    words: str
    """Lower-case text in which quotes and files are replaced by their marks."""

    @classmethod
    def parse(cls, text: str) -> GoalText:
        """Take a goal apart. A quoted file name counts as a file, not as a quote."""
        quotes: list[str] = []

        def set_apart(match: re.Match[str]) -> str:
            inner = next(group for group in match.groups() if group is not None)
            if FILE.fullmatch(inner.strip()):
                return f" {inner.strip()} "
            quotes.append(inner)
            return f" {QUOTE_MARK} "

        unquoted = QUOTE.sub(set_apart, text)
        files = tuple(dict.fromkeys(match[1] for match in FILE.finditer(unquoted)))
        masked = FILE.sub(lambda m: f" {_mark(m[1])} ", unquoted)
        return cls(text, tuple(quotes), files, re.sub(r"\s+", " ", masked.lower()))

    def has(self, words: Iterable[str]) -> bool:
        """Whether any of the words or phrases occurs, in any of its regular endings."""
        return bool(pattern(tuple(words)).search(self.words))

    @property
    def unquoted(self) -> str:
        """The text with its quotes cut out, letters as given."""
        return QUOTE.sub(
            lambda m: next(filter(None, m.groups())) if FILE.fullmatch(m[0][1:-1]) else " ",
            self.text,
        )


def _mark(path: str) -> str:
    """What stands in ``words`` for a file; some names say what the file is."""
    stem, _, extension = path.rpartition("/")[2].lower().rpartition(".")
    mark = FILE_MARK + extension
    return f"{stem} {mark}" if stem in TELLING_NAMES else mark


@lru_cache(maxsize=4096)
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of the phrases as whole words; plural and verb endings are let pass."""
    ordered = sorted(words, key=len, reverse=True)
    either = "|".join(r"[\s-]+".join(map(re.escape, word.split())) for word in ordered)
    return re.compile(rf"(?<![\w{FILE_MARK}])(?:{either})(?:'s|s|es|d|ed|ing)?(?![\w+#])")


def role_at(words: str, position: int) -> str:
    """``source``, ``target`` or ``""``: what the nearest cue before a mention makes of it."""
    before = re.findall(r"->|=>|→|[\w¶·']+|[.;:]", words[:position])[-CUE_WORDS:]
    for word in reversed(before):
        if word in TARGET_CUES:
            return "target"
        if word in SOURCE_CUES:
            return "source"
    return ""


def source_and_target(mentions: list[tuple[int, str]], words: str) -> tuple[str, str] | None:
    """Which of two kinds of things is turned into the other; None unless there are two."""
    order = list(dict.fromkeys(kind for _, kind in mentions))
    if len(order) != 2:
        return None
    points = dict.fromkeys(order, 0)
    for position, kind in mentions:
        points[kind] += {"target": 1, "source": -1, "": 0}[role_at(words, position)]
    first, second = order
    return (second, first) if points[first] > points[second] else (first, second)
