"""Recorded tool arguments: where a value stands in them, and how to put another in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmos_workers.contracts.base import Json
from llmos_workers.contracts.trace import TraceStep

CONTENT_KEYS = frozenset(
    {"content", "code", "old", "new", "old_string", "new_string", "patch", "diff", "body", "text"}
)
"""Arguments that hold what a model made up; a change of the goal may change all of it."""
CONTENT_CHARS = 400
"""A longer text, or one of several lines, is content whatever its name."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One occurrence of a value."""

    step: int
    path: Path
    whole: bool
    """The value is the entire argument, not a piece of it."""
    content: bool
    """The argument is generated content."""


def leaves(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every scalar of nested arguments with the way to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    else:
        yield path, value


def is_content(path: Path, value: Json) -> bool:
    """Whether an argument holds generated content."""
    if not isinstance(value, str):
        return False
    return bool(CONTENT_KEYS & set(map(str, path))) or "\n" in value or len(value) > CONTENT_CHARS


def contents(steps: Iterable[TraceStep]) -> list[str]:
    """All generated content of the steps."""
    return [
        leaf
        for step in steps
        for path, leaf in leaves(step.call.arguments)
        if is_content(path, leaf)
    ]


@lru_cache(maxsize=4_096)
def delimited(value: str) -> re.Pattern[str]:
    """Matches a value that stands by itself, not inside a longer word or number."""
    if value.replace(".", "", 1).isdigit():
        return re.compile(rf"(?<![\w.]){re.escape(value)}(?![\d_]|\.\d)")
    return re.compile(rf"(?<![A-Za-z0-9.]){re.escape(value)}(?![A-Za-z0-9]|\.\d)", re.IGNORECASE)


def places(value: str, steps: Sequence[TraceStep]) -> list[Place]:
    """Where a value occurs in the steps' arguments."""
    found: list[Place] = []
    pattern = delimited(value)
    for at, step in enumerate(steps):
        for path, leaf in leaves(step.call.arguments):
            if leaf is None or isinstance(leaf, bool):
                continue
            text = str(leaf)
            whole = text.lower() == value.lower()
            count = 1 if whole else len(pattern.findall(text)) if isinstance(leaf, str) else 0
            found += [Place(at, path, whole, is_content(path, leaf))] * count
    return found


_BEFORE_PROGRAM = r"(?:^|[|;&(`\n]|\$\(|\b(?:sudo|xargs|exec|-exec|env|time|nohup|then|do|else))\s*"


def names_program(value: str, steps: Iterable[TraceStep]) -> bool:
    """Whether a value stands where a shell command has its program: another one is another
    deed, whatever the goal says.
    """
    pattern = re.compile(_BEFORE_PROGRAM + re.escape(value) + r"(?=\s|$|[;|&)`])", re.IGNORECASE)
    return any(
        isinstance(leaf, str) and path[-1:] == ("command",) and pattern.search(leaf)
        for step in steps
        for path, leaf in leaves(step.call.arguments)
    )


def substitute(
    steps: Sequence[TraceStep], plain: Mapping[str, str], everywhere: Mapping[str, str]
) -> list[TraceStep]:
    """New steps with old values replaced by new ones, all at once.

    ``plain`` leaves generated content alone, ``everywhere`` does not. Digests are not touched.
    """
    outside = _replacer({**plain, **everywhere})
    inside = _replacer(dict(everywhere))

    def change(value: Json, path: Path) -> Json:
        if isinstance(value, dict):
            return {key: change(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [change(item, (*path, at)) for at, item in enumerate(value)]
        return (inside if is_content(path, value) else outside)(value)

    return [_with_arguments(step, change(step.call.arguments, ())) for step in steps]


def _with_arguments(step: TraceStep, arguments: dict[str, Any]) -> TraceStep:
    if arguments == step.call.arguments:
        return step
    call = step.call.model_copy(update={"arguments": arguments})
    return step.model_copy(update={"call": call})


def _replacer(values: dict[str, str]) -> Callable[[Json], Json]:
    """Replaces in one scalar; a number stays a number."""
    by_lower = {old.lower(): new for old, new in reversed(values.items())}
    longest_first = sorted(values, key=len, reverse=True)
    flags = re.IGNORECASE
    pattern = re.compile("|".join(f"(?:{delimited(v).pattern})" for v in longest_first), flags)

    def new_for(found: str) -> str:
        return values.get(found) or by_lower[found.lower()]

    def replace(value: Json) -> Json:
        if isinstance(value, str):
            return pattern.sub(lambda m: new_for(m[0]), value) if values else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        new = values.get(str(value))
        return value if new is None else _number(new, value)

    return replace


def _number(text: str, old: float) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return old
