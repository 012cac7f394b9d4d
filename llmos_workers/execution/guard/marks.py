"""Characters that stand for what is not known before a command runs.

Words and outputs are plain strings in which these characters of the private use area (refused in
the command line itself) stand for unknown text. So a word can be half known: ``/etc/`` + UNKNOWN.
"""

from __future__ import annotations

import re

UNKNOWN = "\ue000"
"""Any text."""
INSIDE = "\ue001"
"""Names of files below the working folder, as find, ls and globs give them."""
GLOB = "\ue002"
"""An unquoted ``*``, ``?`` or ``[...]``: a part of a file's name."""
FETCHED = "\ue003"
"""Text from the network."""
DECODED = "\ue004"
"""Text that was decoded or turned around, so that nobody can read what it says."""
STREAM = "\ue005"
"""Begins and ends the number of a process substitution."""
UNSET = "\ue006"
"""A variable that is not set: no text, but remembered."""
SELF = "\ue007"
"""``$0``: the script itself."""
ENDLESS = "\ue008"
"""Output that never ends."""
ELEMENT = "\ue014"
"""Between the elements of an array."""
OPEN, COMMA, CLOSE = "\ue010", "\ue011", "\ue012"
"""Unquoted braces and commas, until brace expansion is done."""

OPAQUE = re.compile(f"[{UNKNOWN}{INSIDE}{GLOB}{FETCHED}{DECODED}{ENDLESS}]")
ANY_MARK = re.compile("[\ue000-\ue01f]")
_READABLE = {
    **dict.fromkeys((UNKNOWN, FETCHED, DECODED, ENDLESS), "…"),
    INSIDE: "(files)",
    GLOB: "*",
    SELF: "$0",
    STREAM: "<(…)",
}


def shown(text: str) -> str:
    """The text for people: marks as signs, and not too long."""
    plain = ANY_MARK.sub(lambda mark: _READABLE.get(mark[0], ""), text)
    plain = "".join(char if char.isprintable() else " " for char in plain)
    return plain if len(plain) <= 80 else plain[:79] + "…"


def known(text: str) -> bool:
    """Whether the text holds nothing that is only known at run time."""
    return not OPAQUE.search(text)


def foreign(text: str) -> bool:
    """Whether text came from the network or was decoded."""
    return FETCHED in text or DECODED in text
