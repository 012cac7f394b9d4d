"""Job families as data: how one is recognised, which values it takes, and its script.

A family is one YAML file; ``words.yaml`` beside it names word sets that families share as
``@name``. docs/rehearsal.md describes the format for people who add families of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmos_workers.contracts.errors import MalformedFile

SHIPPED = Path(__file__).parent / "skills"
WORDS_FILE = "words.yaml"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileValue(_Data):
    """A file named in the goal."""

    ext: tuple[str, ...] = ()
    """Wanted extensions without dot; empty: any."""
    role: str = ""
    """``source`` or ``target``: told apart by the words before the name."""
    index: int = 0
    other_than: str = ""
    """Name of an earlier value: that file is passed over."""


class AfterValue(_Data):
    """Words that follow a cue."""

    cues: tuple[str, ...]
    take: str = "clause"
    """``clause``: up to the end of the sentence; ``topic``: up to the next phrase; ``word``;
    ``path``; ``proper``: capitalised words; ``number``."""


class Extractor(_Data):
    """One way to find a value; exactly one of the fields is set."""

    quote: int | None = None
    file: FileValue | None = None
    after: AfterValue | None = None
    choice: dict[str, tuple[str, ...]] | None = None
    direction: dict[str, tuple[str, ...]] | None = None
    """Kinds of things with their words; the value is ``source>target``."""
    number: int | None = None
    """The n-th number outside quotes and file names."""


class ValueRule(_Data):
    """A value of a goal: the first extractor that finds something wins."""

    take: tuple[Extractor, ...] = ()
    default: str | None = None
    """Template over the values before it."""
    required: bool = False
    """Without a value the goal is not of this family."""


class NumberOf(_Data):
    """A template whose text becomes a number."""

    number: str


class Call(_Data):
    """One tool call; arguments are templates."""

    id: str
    tool: str
    args: dict[str, str | int | list[str] | NumberOf]
    """Templates; numbers stay as they are."""
    may_fail: bool = False


class Turn(_Data):
    """Calls that are made together, left out when ``when`` is a false template expression."""

    say: str = ""
    when: str = ""
    calls: tuple[Call, ...]


class ToolProposal(_Data):
    """What the family says when a toolsmith asks for one tool of several of its goals."""

    template: str
    parameters: dict[str, str]
    source: str


class Family(_Data):
    """A kind of job that the rehearsal model has a script for."""

    name: str
    short: str
    """What it does, in a few words."""
    example: str
    all: tuple[tuple[str, ...], ...] = ()
    """Sets of words; of each set one must occur."""
    none: tuple[str, ...] = ()
    """Words that make it another job."""
    values: dict[str, ValueRule] = Field(default_factory=dict)
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Values that must be one of these."""
    weight: int = 0
    """Raises the family's score where several fit."""
    texts: dict[str, str] = Field(default_factory=dict)
    """Longer templates, available to the script as ``texts.name``."""
    turns: tuple[Turn, ...] = ()
    answer: str
    paraphrases: tuple[str, ...] = ()
    """Other wordings of its goals, as templates: what it answers when asked for them."""
    tool: ToolProposal | None = None
    destructive: bool = False
    """Whether its script removes what was there; said when asked."""

    @property
    def tools(self) -> tuple[str, ...]:
        """Tools its script may call."""
        return tuple(dict.fromkeys(call.tool for turn in self.turns for call in turn.calls))


def load_families(folder: Path | None = None) -> list[Family]:
    """All families of a folder (default: the shipped ones), by name. Raises MalformedFile."""
    folder = folder or SHIPPED
    words = _read(folder / WORDS_FILE) if (folder / WORDS_FILE).exists() else {}
    families = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name == WORDS_FILE:
            continue
        data = _read(path)
        try:
            families.append(Family.model_validate(_expand(data, words, path)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise MalformedFile(str(path), f"{where}: {first['msg']}") from None
    return families


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - safe
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise MalformedFile(str(path), error.problem or "not YAML", line=line) from None
    if not isinstance(data, dict):
        raise MalformedFile(str(path), "a skill file is a mapping")
    return data


def _expand(data: Any, words: dict[str, Any], path: Path) -> Any:
    """Replace ``@name`` inside lists by the words of that set."""
    if isinstance(data, dict):
        return {key: _expand(value, words, path) for key, value in data.items()}
    if not isinstance(data, list):
        return data
    flat: list[Any] = []
    for item in data:
        if isinstance(item, str) and item.startswith("@"):
            if item[1:] not in words:
                raise MalformedFile(str(path), f"no word set {item!r} in {WORDS_FILE}")
            flat += words[item[1:]]
        else:
            flat.append(_expand(item, words, path))
    return flat
