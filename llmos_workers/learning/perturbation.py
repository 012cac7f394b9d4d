"""Other contents and other values, to see what depends on them. Pure."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from llmos_workers.contracts.base import Json
from llmos_workers.contracts.trace import Slot, SlotType, TraceStep
from llmos_workers.learning.matching.arguments import delimited, leaves
from llmos_workers.learning.matching.lexicon import lexicon

MAX_WORDS = 200
OTHER_NAME = "quux"
"""Stands for any other name; as no word of a goal it can be found again in what was made."""
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[A-Za-z0-9_./@-]{2,}")
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_CORE = re.compile(r"[A-Za-z0-9](?:.*[A-Za-z0-9])?")
_EXTENSION = re.compile(r"\.[A-Za-z0-9.]{1,10}$")
MIN_STEM = 3


def words_of(steps: Iterable[TraceStep]) -> tuple[str, ...]:
    """Words of the calls: what a command searches for is likely to be one of them."""
    found: dict[str, None] = {}
    for step in steps:
        for _, leaf in leaves(step.call.arguments):
            if isinstance(leaf, str):
                found.update(dict.fromkeys(_WORD.findall(leaf[:4_000])))
    return tuple(found)[:MAX_WORDS]


def altered(data: bytes, path: str, words: Sequence[str] = ()) -> bytes:
    """Another content of the same kind: every number of it is another one, and there is more.

    JSON stays JSON, lines stay lines; of what is no text, a byte in the middle changes too.
    """
    if b"\0" in data[:8_192]:
        at = len(data) // 2
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] + b"\0"
    text = data.decode("utf-8", "surrogateescape")
    if path.endswith(".json"):
        try:
            changed = json.dumps(_other_json(json.loads(text)), ensure_ascii=False, indent=1)
            return changed.encode("utf-8", "surrogateescape")
        except (ValueError, RecursionError):
            pass
    lines = text.split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "x")
    body = _NUMBER.sub(_next_number, text)
    end = "" if not body or body.endswith("\n") else "\n"
    more = f"{_NUMBER.sub(_next_number, last)}\n{' '.join((*words, OTHER_NAME))}\n"
    return (body + end + more).encode("utf-8", "surrogateescape")


def _other_json(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _other_json(item) for key, item in value.items()} | {OTHER_NAME: 1}
    if isinstance(value, list):
        return [*map(_other_json, value), *(map(_other_json, value[-1:]) or [1])]
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value} {OTHER_NAME}"


def _next_number(found: re.Match[str]) -> str:
    digits = found[0]
    return digits[:-1] + str((int(digits[-1]) + 1) % 10 or 1)


def another_value(slot: Slot) -> str | None:
    """A value of the slot's kind that is surely another one; None when none is known."""
    makers = {
        SlotType.DATE: _another_date,
        SlotType.NUMBER: _another_number,
        SlotType.PATH: _another_path,
        SlotType.URL: _another_url,
    }
    other = makers.get(slot.type, _another_name)(slot.value)
    return other if other != slot.value else None


def _another_number(value: str) -> str:
    return _NUMBER.sub(_next_number, value)


def _another_url(value: str) -> str:
    head, slash, last = value.rstrip("/").rpartition("/")
    if not slash or head.endswith((":", "/")):
        return f"{value.rstrip('/')}/{OTHER_NAME}"
    return f"{head}/{_renamed(last)}"


def _another_name(value: str) -> str | None:
    core = _CORE.search(value)
    if core is None:
        return None
    if value[:1].isdigit():
        return _another_number(value)
    other = " ".join(_cased(word) for word in core[0].split())
    return value[: core.start()] + other + value[core.end() :]


def _another_path(value: str) -> str | None:
    if any(char in value for char in "*?["):
        return None
    tail = "/" if value.endswith("/") else ""
    head, slash, last = value.rstrip("/").rpartition("/")
    return f"{head}{slash}{_renamed(last)}{tail}" if last.strip(".") else None


def _renamed(name: str) -> str:
    """Another name with the same extension."""
    extension = _EXTENSION.search(name)
    kept = extension[0] if extension and extension.start() > 0 else ""
    lead = "." if name.startswith(".") else ""
    return f"{lead}{OTHER_NAME}{kept}"


def _another_date(value: str) -> str | None:
    if found := _ISO_DAY.search(value):
        try:
            day = dt.date.fromisoformat(found[0]) + dt.timedelta(days=40)
        except (ValueError, OverflowError):
            return None
        return value[: found.start()] + day.isoformat() + value[found.end() :]
    kinds = lexicon().date_kind
    kind = kinds.get(value.lower())
    if kind is not None:
        other = next(word for word, k in kinds.items() if k == kind and word != value.lower())
        return _like(value, other)
    return _NUMBER.sub(_next_number, value) if _NUMBER.search(value) else None


def _cased(word: str) -> str:
    return _like(word, OTHER_NAME)


def _like(old: str, new: str) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new.capitalize() if old[:1].isupper() else new


def lingering(old: str, new: str, before: str, after: str) -> bool:
    """Whether a text that held the old value still holds it, though another one was given.

    The name of a file counts without its extension too: ``sales.json`` holds on to
    ``sales.csv``. Numbers are everywhere; one counts only when the new one is not there at all.
    """
    if old.replace(".", "", 1).isdigit():
        kept = delimited(old).search(before) and delimited(old).search(after)
        return bool(kept) and not delimited(new).search(after)
    return any(_stands_in(form, before) and _stands_in(form, after) for form in forms_of(old))


def forms_of(value: str) -> tuple[str, ...]:
    """A value and what is usually made of it: its last part, and that without extension."""
    last = value.rstrip("/").rsplit("/", 1)[-1]
    stem = _EXTENSION.sub("", last) or last
    return tuple(f for f in dict.fromkeys((value, last, stem)) if len(f) >= MIN_STEM)


def _stands_in(form: str, text: str) -> bool:
    """As a word, or inside one when it is long enough not to be there by chance."""
    if len(form) > MIN_STEM:
        return form.lower() in text.lower()
    return delimited(form).search(text) is not None


def new_names(folder: str, names: Iterable[str], words: Iterable[str]) -> Mapping[str, str]:
    """Names of files that might come to a folder: one for each kind that is there or that a call
    speaks of, with the name of one of that kind ("" for none).
    """
    kinds: dict[str, str] = {}
    for name in names:
        found = _EXTENSION.search(name)
        kinds.setdefault(found[0] if found and found.start() > 0 else "", name)
    for word in words:
        found = _EXTENSION.search(word)
        if found:
            kinds.setdefault(found[0], "")
    kinds.setdefault("", "")
    lead = "" if folder == "./" else folder
    return {f"{lead}{OTHER_NAME}-new{kind}": like for kind, like in list(kinds.items())[:20]}
