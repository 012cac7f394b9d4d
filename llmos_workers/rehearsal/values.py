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
END_OF_CLAUSE = re.compile(r"[.!?](?:\s|$)|\n|;")


def find(rule: Extractor, goal: GoalText) -> str | None:
    """What one extractor finds, None for nothing."""
    finders: tuple[tuple[Any, Callable[[Any, GoalText], str | None]], ...] = (
        (rule.quote, _quote),
        (rule.file, _file),
        (rule.after, _after),
        (rule.choice, _choice),
        (rule.direction, _direction),
        (rule.number, _number),
    )
    return next((finder(how, goal) for how, finder in finders if how is not None), None)


def _quote(index: int, goal: GoalText) -> str | None:
    return goal.quotes[index] if len(goal.quotes) > index else None


def _file(rule: FileValue, goal: GoalText) -> str | None:
    files = [f for f in goal.files if not rule.ext or f.rpartition(".")[2].lower() in rule.ext]
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
    cues = pattern(rule.cues).pattern
    match = re.search(f"{cues}\\s*:?\\s*", text, re.IGNORECASE)
    if match is None:
        return None
    rest = text[match.end() :]
    if rule.take == "number":
        number = NUMBER.match(rest)
        return number[1] if number else None
    if rule.take == "clause":
        end = END_OF_CLAUSE.search(rest)
        return (rest[: end.start()] if end else rest).strip() or None
    name = re.match(r"[A-Z][\w-]*(?: [A-Z][\w-]*)+" if rule.take == "name" else r"(?!)", rest)
    word = name or re.match(r"[\w][\w-]*", rest)
    return word[0] if word else None


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
