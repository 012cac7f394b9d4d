"""How many pieces of work a goal asks for, told from its structure. Pure.

A piece is a clause that starts with a verb of its own and makes something of its own. Running,
showing or saving what was made belongs to making it. No list of "complex" words: a goal is not
complex because it speaks of research.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"\"[^\"]*\"|`[^`]*`|“[^”]*”|(?<!\w)'[^'\n]*'(?!\w)")
_FILE = re.compile(r"(?<![\w/])[\w./-]*\w\.[A-Za-z]\w{0,5}\b|(?<![\w/])\w[\w-]*/(?=\W|$)")
_SPLIT = re.compile(
    r"(?P<order>,?\s*\b(?:and\s+then|then|and\s+finally|finally|after\s+that|afterwards|next)\b"
    r",?\s+)"
    r"|(?P<apart>[.;!?]\s+|\n+\s*(?:[-*•]|\d+[.)])?\s*|(?<=\w)\s+\d+[.)]\s+)"
    r"|(?P<plain>[,:]\s+(?:and\s+)?|\s+and\s+|\s+&\s+)",
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
        "analyse", "analyze", "annotate", "announce", "assemble", "assess", "benchmark",
        "build", "categorize", "choose", "clean", "collect", "compare", "compile", "compose",
        "compute", "configure", "convert", "crawl", "create", "define", "deploy", "design",
        "develop", "document", "download", "draft", "draw", "edit", "estimate", "evaluate",
        "examine", "explore", "extract", "fetch", "find", "fix", "forecast", "gather",
        "generate", "group", "identify", "implement", "import", "improve", "inform", "inspect",
        "install", "integrate", "invent", "investigate", "make", "measure", "merge", "migrate",
        "model", "notify", "outline", "plan", "plot", "predict", "prepare", "propose",
        "provide", "publish", "rank", "refactor", "remove", "rename", "report", "research",
        "review", "rewrite", "scrape", "search", "set", "solve", "sort", "split", "study",
        "summarise", "summarize", "train", "transform", "translate", "update", "upgrade",
        "validate", "visualise", "visualize", "write",
    }
)  # fmt: skip
"""Verbs whose clause is a piece of work; anything else goes with the piece before it."""

_REFERS_BACK = frozenset(
    {"it", "its", "them", "their", "this", "that", "these", "those", "itself", "both"}
)
_NOT_AN_OBJECT = frozenset({"of", "on", "in", "at", "for", "to", "from", "with", "where", "how"})
"""Behind a verb's name these show that it is a noun, or that its object came before."""

_ASKS = frozenset({"how", "why", "what", "where", "whether", "which", "explain", "describe"})
"""What follows one of them in the same sentence is told of, not asked to be done."""

SHORT_CLAUSE = 2
"""Words of a clause, joined by a comma or "and", that is too small for a piece of its own."""


def complexity(goal: str) -> int:
    """Number of pieces of work, at least 1. The configured threshold says how many are many."""
    text = _LEAD.sub("", _FILE.sub("FILE", _QUOTED.sub("QUOTE", goal)).strip())
    pieces, at, split = 1, 0, ""
    before: list[str] = []
    for found in (*_SPLIT.finditer(text), None):
        clause = text[at : found.start() if found else len(text)]
        words = [word.lower() for word in _WORD.findall(_LEAD.sub("", clause.strip()))]
        if at and _is_piece(words, split, before):
            pieces += 1
        if found:
            at, split = found.end(), str(found.lastgroup)
            before = [*before, *words] if split == "plain" else words
    return pieces


def _is_piece(words: list[str], split: str, before: list[str]) -> bool:
    """Whether a clause is a piece of work beside what stands ``before`` it in the sentence."""
    if not words or words[0] not in MAKES:
        return False
    if split == "order":
        return True  # "then review it" was set apart on purpose
    second = words[1] if len(words) > 1 else ""
    if second in _REFERS_BACK:
        return False  # "write a report and review it"
    if split == "apart":
        return True
    alone = len(before) == 1  # "research and report on it": two verbs, one object
    told = not _ASKS.isdisjoint(before)
    return not (alone or told or second in _NOT_AN_OBJECT or len(words) <= SHORT_CLAUSE)
