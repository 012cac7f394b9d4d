"""The exact identity of a goal: two goals with one signature are the same without a doubt.

Only differences that cannot carry meaning are dropped: the spacing between words, the case of
plain words, and closing punctuation. Quoted text, file names, paths and identifiers stay as
they are: ``write "Hello"`` is not ``write "hello"``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

_QUOTED = re.compile(r'("[^"]*"|“[^”]*”|`[^`]*`|(?<!\w)\'[^\']*\'(?!\w))')
_PLAIN_WORD = re.compile(r"(?<![\w./\\@#$~*-])[^\W\d_]+(?![\w/\\@*-]|\.\w)")
_SPACE = re.compile(r"\s+")


@lru_cache(maxsize=8_192)
def normalize_goal(text: str) -> str:
    """The goal without what cannot carry meaning."""
    pieces = _QUOTED.split(unicodedata.normalize("NFC", text).strip())
    for i in range(0, len(pieces), 2):
        folded = _PLAIN_WORD.sub(lambda match: match[0].lower(), pieces[i])
        pieces[i] = _SPACE.sub(" ", folded)
    pieces[-1] = pieces[-1].rstrip(" .!?")
    return "".join(pieces).strip()


@lru_cache(maxsize=8_192)
def goal_signature(text: str) -> str:
    """16 hex digits that identify the normalized goal."""
    return hashlib.sha256(normalize_goal(text).encode()).hexdigest()[:16]
