"""Shadow audit, the rules: did a replay do what a model does today when it is asked the same?

A sample of replayed goals is run again by a model in a stage of its own, on the files as they
were, and the effects are held against each other. Pure.

A model words things freely, so a difference counts only where it cannot be a matter of taste:
a file that the goal names made by one of them only, a file of data that holds other data, an
answer with other numbers. What may be taste is unclear: it counts neither way, and is shown.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

DATA_SUFFIXES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson"})
"""Files whose content is values, not wording."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*(?![\w])")


class Agreement(StrEnum):
    """How two runs of one goal compare."""

    AGREED = "agreed"
    UNCLEAR = "unclear"
    DISAGREED = "disagreed"


@dataclass(frozen=True, slots=True)
class Effects:
    """What a run left: an answer, and the paths it changed with their contents (None: removed)."""

    answer: str
    files: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict with its reasons in words, at most one for each path."""

    agreement: Agreement
    why: tuple[str, ...] = ()


def compare_effects(
    goal: str, replayed: Effects, again: Effects, *, existed: Iterable[str] = ()
) -> Comparison:
    """Hold the effects of a replay against those of a fresh run. ``existed``: paths that were
    there before either of them.
    """
    before = frozenset(existed)
    found = [
        _compare_path(goal, path, replayed.files, again.files, before)
        for path in sorted(replayed.files.keys() | again.files.keys())
    ]
    if not replayed.files and not again.files:
        found.append(_compare_answers(goal, replayed.answer, again.answer))
    worst = max((each.agreement for each in found), key=_ORDER.index, default=Agreement.AGREED)
    reasons = tuple(why for each in found if each.agreement is worst for why in each.why)
    return Comparison(worst, reasons)


_ORDER = (Agreement.AGREED, Agreement.UNCLEAR, Agreement.DISAGREED)
_SAME = Comparison(Agreement.AGREED)


def _compare_path(
    goal: str,
    path: str,
    replayed: Mapping[str, bytes | None],
    again: Mapping[str, bytes | None],
    before: frozenset[str],
) -> Comparison:
    if path not in replayed or path not in again:
        who = "the replay" if path in replayed else "the model"
        # A helper script or a note beside the work is taste; what was there, or is named, is not.
        certain = path in before or _named(goal, path)
        level = Agreement.DISAGREED if certain else Agreement.UNCLEAR
        return Comparison(level, (f"only {who} changed {path}",))
    mine, theirs = replayed[path], again[path]
    if mine == theirs:
        return _SAME
    if mine is None or theirs is None:
        who = "the replay" if mine is None else "the model"
        return Comparison(Agreement.DISAGREED, (f"only {who} removed {path}",))
    return _compare_contents(path, mine, theirs)


def _compare_contents(path: str, mine: bytes, theirs: bytes) -> Comparison:
    if PurePosixPath(path).suffix.lower() in DATA_SUFFIXES:
        if _values(path, mine) == _values(path, theirs):
            return _SAME
        return Comparison(Agreement.DISAGREED, (f"{path} holds other data",))
    if mine.split() == theirs.split():
        return _SAME
    return Comparison(Agreement.UNCLEAR, (f"{path} is worded otherwise",))


def _compare_answers(goal: str, mine: str, theirs: str) -> Comparison:
    asked = set(_NUMBER.findall(goal))
    numbers, others = (set(_NUMBER.findall(text)) - asked for text in (mine, theirs))
    if mine.split() == theirs.split():
        return _SAME
    if numbers == others:
        return _SAME if numbers else Comparison(Agreement.UNCLEAR, ("worded otherwise",))
    if numbers and others and not (numbers <= others or others <= numbers):
        shown = f"{', '.join(sorted(numbers))} against {', '.join(sorted(others))}"
        return Comparison(Agreement.DISAGREED, (f"the answers tell other numbers: {shown}",))
    return Comparison(Agreement.UNCLEAR, ("one answer tells more numbers than the other",))


def _named(goal: str, path: str) -> bool:
    """Whether the goal speaks of the file by its name."""
    return PurePosixPath(path).name.lower() in goal.lower()


def _values(path: str, content: bytes) -> object:
    """What a file of data says, whatever its layout; its bytes when it cannot be read."""
    suffix = PurePosixPath(path).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
        if suffix == ".json":
            return json.loads(text)
        if suffix in (".jsonl", ".ndjson"):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        delimiter = "\t" if suffix == ".tsv" else ","
        return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except (ValueError, csv.Error):
        return content
