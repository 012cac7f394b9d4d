"""How many pieces of work a goal asks for, told from its structure. Pure.

A piece is a clause that starts with a verb of its own and makes something of its own. Running,
showing or saving what was made belongs to making it. No list of "complex" words: a goal is not
complex because it speaks of research.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"\"[^\"]*\"|`[^`]*`|“[^”]*”|(?<!\w)'[^'\n]*'(?!\w)")
_SPLIT = re.compile(
    r"(?P<order>,?\s*\b(?:and\s+then|then|and\s+finally|finally|after\s+that|afterwards|next)\b,?\s+)"
    r"|(?P<plain>[.;!?]\s+|\n+\s*(?:[-*•]|\d+[.)])?\s*|,\s+(?:and\s+)?|\s+and\s+|\s+&\s+)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"^(?:(?:[-*•]|\d+[.)])\s+|(?:first(?:ly)?|second(?:ly)?|third(?:ly)?|also|please|lastly|to)\b"
    r",?\s+)+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")

MAKES = frozenset(
    {
        "analyse", "analyze", "annotate", "assemble", "benchmark", "build", "categorize",
        "choose", "clean", "collect", "compare", "compile", "compose", "compute", "configure",
        "convert", "create", "crawl", "define", "deploy", "design", "develop", "document",
        "download", "draft", "draw", "edit", "estimate", "evaluate", "examine", "explore",
        "extract", "fetch", "find", "fix", "forecast", "gather", "generate", "group",
        "identify", "implement", "import", "improve", "inspect", "install", "investigate",
        "invent", "make", "measure", "merge", "migrate", "model", "outline", "plan", "plot",
        "predict", "prepare", "propose", "provide", "publish", "rank", "refactor", "remove",
        "rename", "report", "research", "review", "rewrite", "scrape", "search", "set", "solve",
        "sort", "split", "study", "summarise", "summarize", "train", "transform", "translate",
        "update", "validate", "visualise", "visualize", "write",
    }
)  # fmt: skip
"""Verbs whose clause is a piece of work; anything else goes with the piece before it."""

_REFERS_BACK = frozenset({"it", "them", "this", "that", "these", "those", "itself"})


def complexity(goal: str) -> int:
    """Number of pieces of work, at least 1. The configured threshold says how many are many."""
    text = _LEAD.sub("", _QUOTED.sub("QUOTE", goal).strip())
    pieces, at, ordered = 1, 0, False
    for found in (*_SPLIT.finditer(text), None):
        clause = text[at : found.start() if found else len(text)]
        if at and _is_piece(_LEAD.sub("", clause.strip()), ordered=ordered):
            pieces += 1
        if found:
            at, ordered = found.end(), found.group("order") is not None
    return pieces


def _is_piece(clause: str, *, ordered: bool) -> bool:
    words = [word.lower() for word in _WORD.findall(clause)]
    if not words or words[0] not in MAKES:
        return False
    # "write a report and review it" is one piece; "then review it" was set apart on purpose.
    refers_back = len(words) > 1 and words[1] in _REFERS_BACK
    return ordered or not refers_back
