"""Short texts for people: what Flower, logs and task events show of a goal.

Beside the secrets that kernel.redact knows and finds, any word behind a name such as ``token`` is
blanked before the text is cut: nothing is done with these texts, so too much does no harm.
"""

from __future__ import annotations

import re

from llmos_workers.kernel.redact import MARK, redact

SHORT_CHARS = 80
READ_CHARS = 1_000
"""Looked at before cutting, so that a secret is not halved and missed. More is never shown."""

_NAMED = (
    r"(?i)(?<!«)\b((?:api[_-]?key|access[_-]?key|secret|passw(?:or)?d|passphrase|token|credentials?)"
    r"[\w-]*[\"']?\s*(?:[:=]|\bis\b)\s*[\"']?)([^\s\"',;]+)"
)
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{12,}"), rf"\1 {MARK}"),
    (re.compile(_NAMED), rf"\1{MARK}"),
)


def short_text(text: str, limit: int = SHORT_CHARS) -> str:
    """One line of at most ``limit`` characters, without secrets and control characters."""
    seen = redact(text[:READ_CHARS])
    for pattern, instead in _PATTERNS:
        seen = pattern.sub(instead, seen)
    line = "".join(char if char.isprintable() else "?" for char in " ".join(seen.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
