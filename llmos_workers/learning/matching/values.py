"""Values that may vary: how they are written, and what may take whose place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from llmos_workers.contracts.trace import SlotType
from llmos_workers.learning.matching.arguments import Place
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Role, Token

SLOT_TYPES: dict[Kind, SlotType] = {
    Kind.NUMBER: SlotType.NUMBER,
    Kind.SIZE: SlotType.TEXT,
    Kind.PATH: SlotType.PATH,
    Kind.FILE: SlotType.PATH,
    Kind.GLOB: SlotType.PATH,
    Kind.URL: SlotType.URL,
    Kind.DAY: SlotType.DATE,
    Kind.DATE: SlotType.DATE,
    Kind.TIME: SlotType.DATE,
    Kind.IDENTIFIER: SlotType.NAME,
    Kind.CHANNEL: SlotType.NAME,
}

_SPLICEABLE = re.compile(r"(?![-:+=])[\w@%+=:,./^ -]+")
"""Characters that mean nothing to a shell, to SQL or to a regular expression's edges."""
_FILE_LIKE = re.compile(r"(?!(?<=\d)\.x$)\.[A-Za-z]\w{0,7}$")
"""Ends like a file's name; "5.x" is a version."""
_NAMES = frozenset({Kind.WORD, Kind.IDENTIFIER, Kind.LANGUAGE, Kind.FORMAT, Kind.SPEECH})
_ONE_WAY = frozenset({Kind.EMAIL, Kind.CHANNEL, Kind.SIZE})
"""What only goes one way, said or not: "mail bob@x.org", "mail to bob@x.org"."""
_FILES = {Kind.FILE, Kind.PATH}
_FETCHING = frozenset({"download", "get", "save"})
"""What brings an address's file here, whatever its format."""
_CODES = {Kind.IDENTIFIER, Kind.NUMBER}
_CODE_DIGITS = 6
"""So many digits number a thing: nobody counts that far."""
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)$", re.IGNORECASE)
_HALF_DAY = re.compile(r"[ap]\.?m\b", re.IGNORECASE)
_VERSION = re.compile(r"(?:^|[-_v])\d+(?:\.(?:\d+|x))+$")
"""The end of "release/5.x": no file's extension."""
_SEVERAL = re.compile(r"[*?\[{]")
_UP = re.compile(r"(?:^|/)\.\.(?:/|$)")
_EXTENSION_CHARS = 4
_LONG_EXTENSIONS = frozenset(
    {"avif", "blend", "class", "config", "dockerfile", "feather", "flatpak", "geojson", "gradle",
     "graphql", "gpkg", "heif", "ipynb", "jinja", "jsonc", "jsonl", "keynote", "ndjson",
     "numbers", "pages", "parquet", "patch", "pickle", "plist", "properties", "proto",
     "safetensors", "scala", "shtml", "sketch", "socket", "service", "sqlite", "sqlite3",
     "swift", "tfvars", "timer", "torrent", "webmanifest", "woff2", "xhtml"}
)  # fmt: skip
"""Kinds of file with a long ending; others of more than four letters are no files' ("k.olsen")."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def whole_token(value: str) -> Token | None:
    """The value as one typed token, or None if it is not exactly one."""
    said = parse(value).said
    if len(said) != 1:
        return None
    token = said[0]
    return token if token.text.strip("\"'`") == value.strip("\"'`") else None


def forms(kind: Kind, text: str, value: str) -> tuple[str, ...]:
    """Spellings under which a value may stand in arguments; same place, same spelling."""
    if kind in (Kind.NUMBER, Kind.SIZE, Kind.TIME):
        return (text, value)
    if kind is Kind.DATE:
        return (text, value, value.capitalize())
    if kind is Kind.UNIT:
        return (text, value, value.upper())
    return (text,)


def forms_of(value: str) -> tuple[str, ...]:
    """The spellings of a slot's value."""
    token = whole_token(value)
    return forms(token.kind, value, token.value) if token else (value,)


def may_vary(token: Token, lex: Lexicon) -> bool:
    """Whether a token's kind is one whose value may change from goal to goal."""
    if token.kind is Kind.UNIT:
        return token.value in lex.classes["currency"]
    return token.kind in ANCHORS or token.kind is Kind.DATE


def may_name(token: Token) -> bool:
    """Whether a token can be the name of something: a word, an identifier, a plain path."""
    if token.kind is Kind.PATH:
        last = token.text.rsplit("/", 1)[-1]
        return not (("." in last and not _VERSION.search(last)) or _SEVERAL.search(token.text))
    return token.kind in _NAMES


def same_kind(
    old: Token, new: Token, actions: Iterable[str], lex: Lexicon, *, unsaid: bool = False
) -> bool:
    """Whether ``new`` may take the place of ``old``: kind, role, file extension, kind of date.
    ``unsaid``: also if only one of them says its role.
    """
    if old.kind is not new.kind and {old.kind, new.kind} != _FILES:
        codes = {old.kind, new.kind} == _CODES and _is_code(old) and _is_code(new)
        return codes and old.role is new.role
    open_end = None in (old.role, new.role) and (unsaid or old.kind in _ONE_WAY)
    if old.role is not new.role and (not open_end or Role.BY in (old.role, new.role)):
        return False
    if old.kind is Kind.DATE:
        kinds = lex.date_kind.get(old.value), lex.date_kind.get(new.value)
        past = "yesterday" in (old.value, new.value) and old.value != new.value
        return None not in kinds and kinds[0] == kinds[1] and not past
    if _measures(old) != _measures(new) or _look(old) != _look(new):
        return False
    quoted_file = old.kind is Kind.QUOTE and _FILE_LIKE.search(old.value)
    if old.kind in (Kind.FILE, Kind.PATH, Kind.GLOB) or quoted_file:
        blind = _blind(actions, lex.classes["format_blind"])
        return blind or _extension(old.text, lex) == _extension(new.text, lex)
    return old.kind is not Kind.URL or _same_address(old.text, new.text, actions, lex)


def _is_code(token: Token) -> bool:
    """Whether a value is a code of many digits ("JD0148822"): with letters or without."""
    return token.text.isalnum() and sum(map(str.isdigit, token.text)) >= _CODE_DIGITS


def _look(token: Token) -> tuple[bool, ...]:
    """What tells one value from a rank, several files, or a time of the other clock: "the 17th
    ticket" is not ticket 17, "logs/*.txt" is no file, and a tool that took "6:45" may read "7:10
    pm" as the morning.
    """
    ordinal = token.kind is Kind.NUMBER and bool(_ORDINAL.search(token.text))
    halves = token.kind is Kind.TIME and bool(_HALF_DAY.search(token.text))
    several = token.kind in (*_FILES, Kind.GLOB) and bool(_SEVERAL.search(token.text))
    return ordinal, halves, several


def _same_address(old: str, new: str, actions: Iterable[str], lex: Lexicon) -> bool:
    """Whether two addresses lead to the same kind of thing in the same way."""
    if old.split("://", maxsplit=1)[0].lower() != new.split("://", maxsplit=1)[0].lower():
        return False
    return _blind(actions, _FETCHING) or _page_type(old, lex) == _page_type(new, lex)


def _blind(actions: Iterable[str], blind: frozenset[str]) -> bool:
    """Whether every deed treats all files alike."""
    deeds = set(actions)
    return bool(deeds) and deeds <= blind


def _extension(text: str, lex: Lexicon) -> str:
    """The part after the last dot of the last component; domains count as one kind."""
    name = text.rstrip("/").rsplit("/", 1)[-1]
    extension = name.rsplit(".", 1)[-1].lower() if "." in name.lstrip(".") else ""
    return "domain" if extension in lex.domains or _is_name_part(extension) else extension


def _is_name_part(extension: str) -> bool:
    """Whether what stands behind a dot is no kind of file: "k.olsen", "db.internal"."""
    long = extension.isalpha() and len(extension) > _EXTENSION_CHARS
    return long and extension not in _LONG_EXTENSIONS


def _page_type(url: str, lex: Lexicon) -> str:
    """The extension of what an address names; pages and bare hosts have none."""
    path = url.split("://", 1)[-1].partition("/")[2].split("?")[0]
    return _extension(path, lex) if path else ""


def refuse_value(old: str, new: str, where: Iterable[Place]) -> str:
    """Why a new value must not stand where the old one stood; empty if it may."""
    if not new.strip() or _CONTROL.search(new):
        return "it is empty or holds control characters"
    if new.startswith("-") and not old.startswith("-"):
        return "it could be read as an option"
    addresses = "://" in old and "://" in new
    if not addresses and bool(_FILE_LIKE.search(old)) != bool(_FILE_LIKE.search(new)):
        return "one is a file, the other is not"
    if _confined(old) != _confined(new) or bool(_UP.search(old)) != bool(_UP.search(new)):
        return "one leads out of the folder, the other does not"
    if any(not place.whole for place in where) and not _may_splice(old, new):
        return "it cannot safely be put inside a command"
    return ""


def _confined(path: str) -> bool:
    return not (_UP.search(path) or path.startswith(("/", "~")))


def _may_splice(old: str, new: str) -> bool:
    """A piece of a longer argument may only become a plain piece of the same shape."""
    if not _SPLICEABLE.fullmatch(new):
        return False
    if new.count(" ") and not old.count(" "):
        return False
    return len(shlex.split(new)) == len(new.split())


_DIMENSIONS = (
    frozenset({"percent"}),
    frozenset({"second", "millisecond", "minute", "hour", "day"}),
    frozenset({"usd", "eur", "gbp"}),
    frozenset({"byte", "kb", "mb", "gb", "tb"}),
    frozenset({"celsius", "fahrenheit"}),
    frozenset({"kg", "gram", "pound"}),
    frozenset({"km", "mile", "meter", "cm", "mm"}),
)


def _measures(token: Token) -> int | None:
    """What a unit measures: only units of one dimension may take each other's place."""
    if token.kind is not Kind.UNIT:
        return None
    return next((at for at, units in enumerate(_DIMENSIONS) if token.value in units), -1)
