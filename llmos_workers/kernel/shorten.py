"""Short texts for people: what Flower, logs and task events show of a goal.

Beside the secrets this process knows (kernel.redact), strings in the known shapes of keys,
tokens and passwords are blanked before the text is cut. This is a courtesy to whoever reads a
screen, not a boundary: what must stay secret does not belong into a goal.
"""

from __future__ import annotations

import re

from llmos_workers.kernel.redact import MARK, redact

SHORT_CHARS = 80
READ_CHARS = 1_000
"""Looked at before cutting, so that a secret is not halved and missed. More is never shown."""

_NAMED = (
    r"(?i)\b((?:api[_-]?key|access[_-]?key|secret|passw(?:or)?d|passphrase|token|credentials?)"
    r"[\w-]*[\"']?\s*(?:[:=]|\bis\b)\s*[\"']?)([^\s\"',;]+)"
)
KEY_SHAPES = (
    re.compile(r"\b(?:sk|pk|rk)-[\w-]{12,}"),
    re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|npm_)[\w-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
)
"""Whole words that are keys by their own form, whatever stands around them."""

_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.S), MARK),
    *((shape, MARK) for shape in KEY_SHAPES),
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
