"""The matcher's word tables, read once from data/lexicon.toml."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmos_workers.learning.matching.embedder import VOCABULARY_PATH
from llmos_workers.learning.matching.typos import Speller, stem

LEXICON_PATH = Path(__file__).parent / "data" / "lexicon.toml"

_COMMON_RANK, _RARE_RANK = 1_997, 12_000
"""The vocabulary is sorted by frequency: words start at the first, unknown ones count as the
second.
"""

Phrase = tuple[str, ...]

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Word -> class for each table, and sets of words; all in lower case."""

    tables: dict[str, dict[str, str]]
    words: dict[str, frozenset[str]]
    classes: dict[str, frozenset[str]]
    spelling: dict[str, str]
    commands: dict[str, tuple[str, ...]]
    """Shell command -> the words that say what it does."""
    programs: frozenset[str]
    """First words of the commands."""
    codes: dict[str, str]
    numbers: dict[str, int]
    multipliers: dict[str, int]
    phrases: dict[str, tuple[Phrase, ...]]
    """First word -> the phrases of all tables that start with it, longest first."""
    implied: dict[str, frozenset[str]]
    """Word or action -> words that add nothing beside it."""
    apart: dict[str, tuple[tuple[Phrase, str], ...]]
    """Verb -> its possible second parts, behind the object, with the action class."""
    polite: dict[str, tuple[Phrase, ...]]
    """First word -> the polite phrases that start with it, longest first."""
    not_files: frozenset[str]
    domains: frozenset[str]
    name_lead: frozenset[str]
    compatible: frozenset[frozenset[str]]
    near: frozenset[frozenset[str]]
    """Pairs of nouns, by class or stem, that may mean the same thing."""
    antonyms: dict[str, frozenset[str]]
    unlike: dict[str, frozenset[str]]
    """Stem -> stems that share a class with it or may, and yet ask for another effect."""
    date_kind: dict[str, int]
    action_by_stem: dict[str, str]
    known: frozenset[str]
    """Every single word of the tables."""
    vocabulary: dict[str, int]
    """Word -> rank by frequency."""
    speller: Speller

    def rarity(self, word: str) -> float:
        """How much a word says, 0 (very common) to 1 (rare)."""
        rank = max(self.vocabulary.get(word, _RARE_RANK), _COMMON_RANK)
        return min(1.0, math.log(rank - _COMMON_RANK + 7) / math.log(_RARE_RANK))

    def unlike_keys(self, one: frozenset[str], other: frozenset[str]) -> bool:
        """Whether two words, by their keys, look alike in class and differ in effect."""
        return any(not self.unlike.get(key, _NONE).isdisjoint(other) for key in one)

    def contrary(self, one: set[str], other: set[str]) -> bool:
        """Whether a word that only ``one`` has is the opposite of one that only ``other`` has."""
        return any(self.antonyms.get(word, frozenset()) & (other - one) for word in one - other)


@cache
def lexicon() -> Lexicon:
    """The shipped tables."""
    data = tomllib.loads(LEXICON_PATH.read_text(encoding="utf-8"))
    tables = {name: _invert(table) for name, table in data["tables"].items()}
    words = {name: frozenset(_split(text)) for name, text in data["words"].items()}
    vocabulary = _vocabulary()
    spelling: dict[str, str] = data["spelling"]
    known = frozenset(
        {word for table in tables.values() for word in table if " " not in word}
        | words["stop"]
        | words["negation"]
        | words["technical"]
        | set(spelling)
        | set(data["numbers"])
    )
    fixable = known - words["technical"] - set(tables["format"]) - set(tables["language"])
    return Lexicon(
        tables=tables,
        words=words,
        classes={name: frozenset(_split(text)) for name, text in data["classes"].items()},
        spelling=spelling,
        commands={name: tuple(text.split()) for name, text in data["commands"].items()},
        programs=frozenset(name.split()[0] for name in data["commands"]),
        codes=data["codes"],
        numbers=data["numbers"],
        multipliers=data["multipliers"],
        phrases=_phrases(tables),
        implied={word: frozenset(_split(text)) for word, text in data["implied"].items()},
        apart=_apart(data["apart"]),
        polite=_by_first(_split(data["phrases"]["polite"])),
        not_files=frozenset(_split(data["phrases"]["not_files"])),
        domains=frozenset(_split(data["phrases"]["domains"])),
        name_lead=frozenset(_split(data["phrases"]["name_lead"])),
        compatible=frozenset(frozenset(pair.split()) for pair in data["groups"]["compatible"]),
        near=frozenset(
            frozenset(tables["synonym"].get(word, stem(word)) for word in pair.split())
            for pair in data["groups"]["near"]
        ),
        antonyms=_antonyms(data["groups"]["antonyms"]),
        unlike=_unlike(data["groups"]["unlike"]),
        date_kind={w: i for i, row in enumerate(data["groups"]["dates"]) for w in row.split()},
        action_by_stem={
            stem(word): name
            for word, name in tables["action"].items()
            if " " not in word and len(word) > 3
        },
        known=known,
        vocabulary=vocabulary,
        speller=Speller(fixable, known, vocabulary),
    )


def _split(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return [wording for part in parts for wording in variants(part)]


_RE_CHOICE = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")


def variants(pattern: str) -> list[str]:
    """The wordings of a pattern: "(show|list) [all] files" has four. Not nested."""
    match = _RE_CHOICE.search(pattern)
    if match is None:
        return [" ".join(pattern.split())]
    choices = [*(match[2] or "").split("|"), ""] if match[2] else match[1].split("|")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [whole for choice in choices for whole in variants(before + choice + after)]


def _invert(table: dict[str, Any]) -> dict[str, str]:
    return {wording: name for name, text in table.items() for wording in _split(text)}


def _longest_first(wordings: list[str]) -> tuple[Phrase, ...]:
    return tuple(sorted((tuple(w.split()) for w in wordings), key=len, reverse=True))


def _phrases(tables: dict[str, dict[str, str]]) -> dict[str, tuple[Phrase, ...]]:
    return _by_first(sorted({w for table in tables.values() for w in table if " " in w}))


def _by_first(wordings: list[str]) -> dict[str, tuple[Phrase, ...]]:
    by_first: dict[str, list[str]] = {}
    for wording in wordings:
        by_first.setdefault(wording.split()[0], []).append(wording)
    return {first: _longest_first(group) for first, group in by_first.items()}


def _apart(table: dict[str, str]) -> dict[str, tuple[tuple[Phrase, str], ...]]:
    found: dict[str, list[tuple[Phrase, str]]] = {}
    for name, text in table.items():
        for wording in _split(text):
            verb, tail = wording.split(" .. ")
            found.setdefault(verb, []).append((tuple(tail.split()), name))
    return {verb: tuple(sorted(tails, key=lambda t: -len(t[0]))) for verb, tails in found.items()}


def _antonyms(pairs: list[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in pairs:
        one, other = pair.split()
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


def _unlike(rows: list[str]) -> dict[str, frozenset[str]]:
    """Stem key -> the stem keys of the other cells of its rows ("pause | stop, halt")."""
    found: dict[str, set[str]] = {}
    for row in rows:
        cells = [{f"s:{stem(word)}" for word in _split(cell)} for cell in row.split("|")]
        for at, cell in enumerate(cells):
            others = set().union(*cells[:at], *cells[at + 1 :]) - cell
            for key in cell:
                found.setdefault(key, set()).update(others)
    return {key: frozenset(others) for key, others in found.items()}


def _vocabulary() -> dict[str, int]:
    lines = VOCABULARY_PATH.read_text(encoding="utf-8").splitlines()
    return {word: rank for rank, word in enumerate(lines) if not word.startswith(("##", "["))}
