"""Mark what is source and what is destination, where the goal says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Role, Token

_REACH = 4
"""A preposition governs at most so many tokens to its right."""
_ENDS_REACH = ANCHORS | {Kind.ACTION, Kind.FORMAT, Kind.SPEECH}
_ENDING_WORDS = frozenset(
    ("for", "with", "on", "in", "of", "by", "about", "and", "called", "named",
     "at", "between", "against", "before", "after")
)  # fmt: skip
_PUTTING = frozenset({"put", "post", "place", "hang", "stick"})
_BEFORE_NOUN_ACTION = frozenset({"into", "onto", "from", "off", "->"})
_WRITTEN = frozenset({"is", "are", "written", "currently", "was"})
_RECIPIENTS = frozenset({"me", "us"})


def mark_roles(tokens: Sequence[Token], owners: set[int], lex: Lexicon) -> list[Token]:
    """The tokens with their roles; ``owners`` are starts of words with a possessive 's."""
    marked = list(tokens)
    for at, token in enumerate(tokens):
        if not _may_have_role(tokens, at, owners):
            continue
        role = _role(tokens, at, lex)
        if role:
            marked[at] = replace(token, role=role)
    return marked


def _may_have_role(tokens: Sequence[Token], at: int, owners: set[int]) -> bool:
    token = tokens[at]
    if token.kind in (Kind.STOP, Kind.NEGATION) and token.value not in _RECIPIENTS:
        return False
    if token.kind is Kind.ACTION:
        return at > 0 and tokens[at - 1].value in _BEFORE_NOUN_ACTION
    return token.start not in owners


def _role_of_language(tokens: Sequence[Token], at: int) -> Role | None:
    """The role of a language: "a French version" and "in French" say into which, "this English
    text" says from which.
    """
    before = tokens[at - 1].value if at else ""
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    written = at > 1 and tokens[at - 2].word in _WRITTEN
    if after is not None and after.word in ("version", "translation"):
        return Role.DESTINATION
    if before == "in":
        return Role.SOURCE if written else Role.DESTINATION
    if after is not None and after.kind in (Kind.WORD, Kind.FILE, Kind.PATH):
        return Role.SOURCE
    return Role.SOURCE if after is not None and after.value == "->" else None


def _role(tokens: Sequence[Token], at: int, lex: Lexicon) -> Role | None:
    if tokens[at].kind is Kind.NUMBER and at and tokens[at - 1].value == "by":
        return Role.BY
    for before in reversed(tokens[max(0, at - _REACH) : at]):
        if before.value in lex.words["source"]:
            return Role.SOURCE
        if before.value in lex.words["destination"]:
            return Role.DESTINATION
        if before.value == "on" and any(t.word in _PUTTING for t in tokens[:at]):
            return Role.DESTINATION
        ends = before.kind in _ENDS_REACH or before.value in _ENDING_WORDS
        if ends or before.value in lex.words["weak"]:
            break
    if tokens[at].kind is Kind.SPEECH:
        return _role_of_language(tokens, at)
    follows_arrow = at + 1 < len(tokens) and tokens[at + 1].value == "->"
    return Role.SOURCE if follows_arrow else None
