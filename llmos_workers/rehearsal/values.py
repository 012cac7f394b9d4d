"""Finding the values of a goal: files, quotes, names, numbers, languages, directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from llmos_workers.rehearsal.goal_text import (
    FILE_MARK,
    GoalText,
    pattern,
    source_and_target,
)
from llmos_workers.rehearsal.skills import AfterValue, Extractor, FileValue

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ]
    )
} | {"twenty": "20", "thirty": "30", "fifty": "50", "hundred": "100", "thousand": "1000"}
NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:[,_]\d{3})+|\d+)(?:st|nd|rd|th)?(?![\w])")
WORD = re.compile(r"\w[\w-]*")
PATH = re.compile(r"\w[\w./-]*")
PROPER = re.compile(r"[A-Z][\w-]*(?: [A-Z][\w-]*)*")
NO_NAMES = frozenset(
    ["Python", "JavaScript", "Node", "Bash", "Rust", "JS", "README", "MIT", "CSV", "JSON", "I"]
)
"""Capitalised words that name nobody."""

FILLERS = frozenset(["the", "a", "an", "my", "this", "that", "it", "me", "our", "which"])
END_OF_TOPIC = re.compile(r"[.,!?;](?:\s|$)|\n|\s(?:and|into|to|in|please)\s|$")
END_OF_CLAUSE = re.compile(r"[.!?](?:\s|$)|\n|;")


def find(rule: Extractor, goal: GoalText, values: Mapping[str, str]) -> str | None:
    """What one extractor finds, None for nothing. ``values`` are those found before."""
    if rule.file is not None:
        return _file(rule.file, goal, values)
    finders: tuple[tuple[Any, Callable[[Any, GoalText], str | None]], ...] = (
        (rule.quote, _quote),
        (rule.after, _after),
        (rule.choice, _choice),
        (rule.direction, _direction),
        (rule.number, _number),
    )
    return next((finder(how, goal) for how, finder in finders if how is not None), None)


def _quote(index: int, goal: GoalText) -> str | None:
    return goal.quotes[index] if len(goal.quotes) > index else None


def _file(rule: FileValue, goal: GoalText, values: Mapping[str, str]) -> str | None:
    files = [f for f in goal.files if not rule.ext or f.rpartition(".")[2].lower() in rule.ext]
    if rule.other_than:
        files = [f for f in files if f != values[rule.other_than]]
    if rule.role and len(files) == 2:
        mentions = [(_position(goal, name), name) for name in files]
        pair = source_and_target(mentions, goal.words)
        return None if pair is None else pair[rule.role == "target"]
    if rule.role == "target":
        return None
    return files[rule.index] if len(files) > rule.index else None


def _position(goal: GoalText, name: str) -> int:
    """Where a file's mark stands in ``words``: marks come in the order of the files."""
    marks = [match.start() for match in re.finditer(rf"{FILE_MARK}\w+", goal.words)]
    index = goal.files.index(name)
    return marks[index] if index < len(marks) else 0


def _after(rule: AfterValue, goal: GoalText) -> str | None:
    text = goal.unquoted
    cues = re.compile(f"{pattern(rule.cues).pattern}\\s*:?\\s*", re.IGNORECASE)
    for match in cues.finditer(text):
        if found := _taken(rule.take, text[match.end() :]):
            return found
    return None


def _taken(what: str, rest: str) -> str | None:
    """The wanted piece at the start of a text, None when there is none."""
    if what == "number":
        number = NUMBER.match(rest)
        return number[1] if number else None
    if what == "proper":
        name = PROPER.match(rest)
        return name[0] if name and name[0].split()[0] not in NO_NAMES else None
    if what == "topic":
        return _up_to(END_OF_TOPIC, rest)
    if what == "clause":
        return _up_to(END_OF_CLAUSE, rest)
    word = (PATH if what == "path" else WORD).match(rest)
    return word[0].rstrip(".") if word and word[0].lower() not in FILLERS else None


def _up_to(end: re.Pattern[str], text: str) -> str | None:
    match = end.search(text)
    return (text[: match.start()] if match else text).strip() or None


def _choice(options: Mapping[str, tuple[str, ...]], goal: GoalText) -> str | None:
    """The option whose word stands first."""
    found = []
    for option, words in options.items():
        if match := pattern(words).search(goal.words):
            found.append((match.start(), option))
    return min(found)[1] if found else None


def _direction(kinds: Mapping[str, tuple[str, ...]], goal: GoalText) -> str | None:
    mentions = []
    for kind, words in kinds.items():
        marks = pattern(words).finditer(goal.words)
        mentions += [(match.start(), kind) for match in marks]
    pair = source_and_target(sorted(mentions), goal.words)
    return None if pair is None else ">".join(pair)


def _number(index: int, goal: GoalText) -> str | None:
    found = [match[1].replace(",", "").replace("_", "") for match in NUMBER.finditer(goal.words)]
    if not found:
        found = [NUMBER_WORDS[w] for w in re.findall(r"[a-z]+", goal.words) if w in NUMBER_WORDS]
    return found[index] if len(found) > index else None
