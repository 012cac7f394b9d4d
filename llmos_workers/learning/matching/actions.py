"""Do both goals ask for the same deed?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import Kind, Role, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.sides import Sides

_SOFT_HEADS = frozenset({"add", "send", "show", "get"})
"""Beside the light ones: verbs that leave the deed to their object ("send a reminder")."""
_SHOWING = frozenset({"show", "get", "find"})


def action_evidence(sides: Sides, lex: Lexicon) -> dict[str, float]:
    """Features about actions; see FEATURES."""
    return _Actions(sides, lex).evidence()


class _Actions:
    def __init__(self, sides: Sides, lex: Lexicon) -> None:
        self._sides, self._lex = sides, lex
        pairs = sides.alignment.pairs
        self._pairs = set(pairs)
        self._paired = {token for pair in pairs for token in pair}
        self._matched = any(Kind.ACTION in (one.kind, two.kind) for one, two in pairs)
        self._heads_reference = self._heads(sides.reference.tokens)
        self._heads_query = self._heads(sides.query.tokens)
        self._informs = any(t.value in lex.classes["informing"] for t in self._heads_reference)

    def evidence(self) -> dict[str, float]:
        left_reference, left_query = self._left()
        both_act = bool(left_reference and left_query)
        head_conflict = self._head_conflict()
        self._drop_compatible(left_reference, left_query)
        found = {
            "head_conflict": float(head_conflict),
            "action_conflict": float(bool(left_reference and left_query)),
            "action_none": float(not self._matched and not both_act),
            "action_lost": float(bool(not left_query and self._lost(left_reference))),
            "destructive": float(
                any(
                    t.value in self._lex.classes["destructive"] for t in left_reference + left_query
                )
            ),
        }
        if not found["action_conflict"]:
            found["action_added"] = float(sum(map(self._heavy, left_query)))
            found["action_missing"] = float(sum(map(self._heavy, left_reference)))
            found["action_light"] = float(sum(map(self._light, left_reference + left_query)))
        return found

    def _left(self) -> tuple[list[Token], list[Token]]:
        """Unpaired verbs whose deed the other side does not name in any form."""
        said_reference = self._deeds(self._sides.reference.tokens)
        said_query = self._deeds(self._sides.query.tokens)
        left_reference = [
            t for t in self._sides.left_reference if self._is_verb(t) and t.action not in said_query
        ]
        left_query = [
            t for t in self._sides.left_query if self._is_verb(t) and t.action not in said_reference
        ]
        return left_reference, left_query

    def _deeds(self, tokens: Iterable[Token]) -> set[str]:
        return {token.action for token in tokens if token.action}

    def _is_verb(self, token: Token) -> bool:
        return token.kind is Kind.ACTION and token.word not in self._lex.words["weak"]

    def _heads(self, tokens: Sequence[Token]) -> list[Token]:
        """The main verb, and the deeds its object names if it leaves the deed to it."""
        verbs = [
            t
            for t in tokens
            if self._is_verb(t) and not (t.value.startswith("x_") and t in self._paired)
        ]
        heads = verbs[:1]
        if not heads or heads[0].value in self._lex.classes["light"] | _SOFT_HEADS:
            weak = self._lex.words["weak"]
            heads += [t for t in tokens if t.action and t not in heads and t.word not in weak]
        return heads

    def _head_conflict(self) -> bool:
        if not (self._heads_reference and self._heads_query):
            return False
        return not any(
            self._compatible(one, two)
            or one.keys & two.keys
            or (self._informs and two.value in _SHOWING)
            or (one, two) in self._pairs
            for one in self._heads_reference
            for two in self._heads_query
        )

    def _compatible(self, one: Token, two: Token) -> bool:
        if frozenset({one.value, two.value}) not in self._lex.compatible:
            return False
        # "add tests to the app" does not create the app.
        adds_to = (
            (one, self._sides.reference.tokens),
            (two, self._sides.query.tokens),
        )
        return not any(
            verb.value == "add" and any(t.role is Role.DESTINATION for t in tokens)
            for verb, tokens in adds_to
        )

    def _drop_compatible(self, left_reference: list[Token], left_query: list[Token]) -> None:
        for one in list(left_reference):
            two = next((t for t in left_query if self._compatible(one, t)), None)
            if two is not None:
                left_reference.remove(one)
                left_query.remove(two)
                self._matched = True

    def _carried(self, token: Token) -> bool:
        """Whether a verb adds nothing beside the deed both sides name."""
        shows = self._informs and token.value in _SHOWING
        return self._matched and (token.value in self._lex.classes["light"] or shows)

    def _heavy(self, token: Token) -> bool:
        return not self._carried(token) and token.value not in self._lex.classes["light"]

    def _light(self, token: Token) -> bool:
        return not self._carried(token) and token.value in self._lex.classes["light"]

    def _lost(self, left_reference: list[Token]) -> bool:
        basic = self._lex.classes["basic"] | self._lex.classes["light"]
        informing = self._lex.classes["informing"]
        for token in left_reference:
            own = token in self._heads_reference and not self._matched
            if token.value not in basic and (
                (own and token.value not in informing) or self._heads_query
            ):
                return True
        return False
