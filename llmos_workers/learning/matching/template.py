"""What a goal is a case of: its structure, with the values that may differ left open."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.tokens import Kind, Token

OPEN = frozenset(
    {
        Kind.QUOTE,
        Kind.URL,
        Kind.EMAIL,
        Kind.PATH,
        Kind.FILE,
        Kind.GLOB,
        Kind.NUMBER,
        Kind.SIZE,
        Kind.DAY,
        Kind.TIME,
        Kind.CHANNEL,
    }
)
"""Kinds whose values are slots without a doubt. Identifiers and formulas may be what the goal is
about, and words of dates ("today") mean what they say."""

_FILES = frozenset({Kind.PATH, Kind.FILE, Kind.GLOB})


@lru_cache(maxsize=8_192)
def template_signature(text: str) -> str:
    """16 hex digits, equal for goals that say the same of other values of the same kind.

    Stricter than matching and much cheaper: the same canonical tokens in the same order and
    roles; files keep their extension. That a trace of one can be bound to the other is likely,
    not said. Never raises.
    """
    tokens = (_shape(token) for token in parse(text).said)
    return hashlib.sha256("\n".join(tokens).encode(errors="replace")).hexdigest()[:16]


def _shape(token: Token) -> str:
    role = token.role.value if token.role else ""
    if token.kind in _FILES:
        return f"{Kind.FILE}:{role}:{_extension(token.text)}"
    value = "" if token.kind in OPEN else f"={token.value}"
    return f"{token.kind}:{role}:{value}"


def _extension(path: str) -> str:
    name = path.rstrip("/").rsplit("/", 1)[-1].lstrip(".")
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""
