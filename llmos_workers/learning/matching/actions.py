"""Do both goals ask for the same deed?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import MEMO, Kind, Role, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_SOFT_HEADS = frozenset({"add", "send", "show", "get"})
"""Beside the light ones: verbs that leave the deed to their object ("send a reminder")."""
_SHOWING = frozenset({"show", "get", "find"})
_PLAIN = frozenset({"show", "get", "find", "check"})
"""Classes that stand for each other where the verb means no more than to inform."""
_PLAIN_WORDS = ("informing_plain", "ask_show", "ask_check")
_SEEKING = frozenset({"find", "check", "get", "read"})
_GIVING = frozenset({"get", "give"})
_MOVING = frozenset({"put", "take"})
"""Weak verbs that change something all the same."""
_FETCHING = frozenset({"get", "save", "download"})
"""With an address as their object these ask for the same."""
_OBJECT_REACH = 7
_ENDS_OBJECT = frozenset({Kind.FILE, Kind.PATH, Kind.URL, Kind.QUOTE})


def action_evidence(sides: Sides, lex: Lexicon) -> dict[str, float]:
    """Features about actions; see FEATURES."""
    return _Actions(sides, lex).evidence()


class _Actions:
    def __init__(self, sides: Sides, lex: Lexicon) -> None:
        self._sides, self._lex = sides, lex
        self._usual = lex.tables["action"]
        pairs = sides.alignment.pairs
        self._pairs = set(pairs)
        self._fetches = any(one.kind is Kind.URL for one, _ in pairs)
        self._paired = {token for pair in pairs for token in pair}
        self._speaking = {*self._paired, *sides.left_reference, *sides.left_query}
        self._matched = any(Kind.ACTION in (one.kind, two.kind) for one, two in pairs)
        self._carriers = self._carrying(sides.reference) | self._carrying(sides.query)
        self._heads_reference = self._heads(sides.reference.tokens)
        self._heads_query = self._heads(sides.query.tokens)
        self._informs = any(t.value in lex.classes["informing"] for t in self._heads_reference)
        self._informs |= self._asks_for(sides.reference.tokens)
        self._does = any(
            t.value not in lex.classes["informing"] | lex.classes["light"]
            for pair in pairs
            for t in pair
            if t.kind is Kind.ACTION
        )

    def evidence(self) -> dict[str, float]:
        left_reference, left_query = self._left()
        both_act = bool(left_reference and left_query)
        head_conflict = self._head_conflict()
        self._drop_compatible(left_reference, left_query)
        found = {
            "head_conflict": float(head_conflict),
            "action_conflict": float(bool(left_reference and left_query) or self._twice()),
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

    def _twice(self) -> bool:
        """Whether only one side does a deed to itself ("revert the revert"), or runs what is there
        ("run all the scripts").
        """
        mine, theirs = self._sides.reference, self._sides.query
        if _doubled(mine) != _doubled(theirs):
            return True
        return self._opens_otherwise() or any(
            _runs(one) and self._deeds(other.tokens).isdisjoint(_RUNNING)
            for one, other in ((mine, theirs), (theirs, mine))
        )

    def _opens_otherwise(self) -> bool:
        """Whether what one side orders first is on the other no order, which begins with one of
        its own: "tag the stopped machines", "stop the tagged machines".
        """
        mine, theirs = self._sides.reference.tokens, self._sides.query.tokens
        if not (mine and theirs and self._orders_by_itself(mine[0], theirs[0])):
            return False
        partner = self._sides.alignment.partner()
        return any(
            partner.get(first) not in (None, other[0])
            and not _orders(partner[first])
            and not (partner.get(other[0]) and _orders(partner[other[0]]))
            for first, other in ((mine[0], theirs), (theirs[0], mine))
        )

    def _orders_by_itself(self, *openings: Token) -> bool:
        soft = self._lex.classes["light"] | _SOFT_HEADS | _SHOWING
        special = self._lex.words["informing_plain"]
        return all(
            t.kind is Kind.ACTION
            and (t.value not in soft or (t.value in _SHOWING and t.word not in special))
            and t not in self._carriers
            and t.word not in self._lex.words["weak"]
            for t in openings
        )

    def _left(self) -> tuple[list[Token], list[Token]]:
        """Unpaired verbs whose deed the other side does not name in any form."""
        said_reference = self._deeds(self._sides.reference.tokens)
        said_query = self._deeds(self._sides.query.tokens)
        left_reference = [
            t
            for t in self._sides.left_reference
            if self._is_verb(t) and (t.action not in said_query or _describes(t))
        ]
        left_query = [
            t
            for t in self._sides.left_query
            if self._is_verb(t) and (t.action not in said_reference or _describes(t))
        ]
        return left_reference, left_query

    def _deeds(self, tokens: Iterable[Token]) -> set[str]:
        return {token.action for token in tokens if token.action}

    def _is_verb(self, token: Token) -> bool:
        return token.kind is Kind.ACTION and not (self._weak(token) or token in self._carriers)

    def _weak(self, token: Token) -> bool:
        """Whether a verb means no deed of its own here; a frame may give it one."""
        return token.word in self._lex.words["weak"] and not self._framed(token)

    def _framed(self, token: Token) -> bool:
        return token.kind is Kind.ACTION and token.value != self._usual.get(token.word, token.value)

    def _asks_for(self, tokens: Sequence[Token]) -> bool:
        """Whether a goal names no deed, or starts with "get" or "give me": it wants to know."""
        verbs = [t for t in tokens if t.kind is Kind.ACTION or t.word in self._lex.words["weak"]]
        return not verbs or (verbs[0].word in _GIVING and not self._is_verb(verbs[0]))

    def _carrying(self, goal: Goal) -> dict[Token, Token]:
        """Verbs that only carry the deed their object names: "make a copy", "set a reminder"."""
        words, found, tokens = self._lex.words, dict[Token, Token](), goal.tokens
        for at, token in enumerate(tokens):
            if token.word not in words["carrier"] or not token.keys:
                continue
            behind = [t for t in tokens[at + 1 : at + 1 + _OBJECT_REACH] if t.kind is not Kind.STOP]
            noun = next((t for t in behind if t.word in words["event"] and t.action), None)
            ends = next((t for t in behind if t.kind in _ENDS_OBJECT), None)
            if noun is None or (ends and ends is not noun and ends.start < noun.start):
                continue
            if not self._framed(token) and not goal.text.startswith("'s", noun.end):
                found[token] = noun
        return found

    def _heads(self, tokens: Sequence[Token]) -> list[Token]:
        """The main verb, and the deeds its object names if it leaves the deed to it."""
        verbs = [
            t
            for t in tokens
            if self._is_verb(t) and not (t.value.startswith("x_") and t in self._paired)
        ]
        if len(verbs) > 1 and (verbs[0].value in _SEEKING or verbs[0].word == "see"):
            # "find the process and kill it" kills.
            verbs = [t for t in verbs[1:] if t.value not in self._lex.classes["informing"]] or verbs
        carriers = [t for t in tokens if t in self._carriers]
        if verbs and carriers and carriers[0].start < verbs[0].start:
            # "set a reminder to call the bank" reminds; it does not call.
            return [self._carriers[carriers[0]]]
        heads = verbs[:1]
        if not heads or heads[0].value in self._lex.classes["light"] | _SOFT_HEADS:
            weak = self._lex.words["weak"]
            soft = not heads or heads[0].value in _SOFT_HEADS
            heads += [
                t
                for t in tokens
                if t.action
                and t in self._speaking
                and t not in heads
                and t.word not in weak
                and (not soft or t.word in self._lex.words["event"])
            ]
        return heads

    def _head_conflict(self) -> bool:
        if not (self._heads_reference and self._heads_query):
            informs = self._lex.classes["informing"]
            heads = self._heads_reference or self._heads_query
            other = self._sides.query if self._heads_reference else self._sides.reference
            moves = any(t.word in _MOVING for t in other.tokens)
            return bool(heads) and moves and heads[0].value in informs
        return not any(
            self._compatible(one, two)
            or one.keys & two.keys
            or (self._informs and two.value in _SHOWING)
            or (one, two) in self._pairs
            for one in self._heads_reference
            for two in self._heads_query
        )

    def _compatible(self, one: Token, two: Token) -> bool:
        deeds = frozenset({one.value, two.value})
        if deeds not in self._lex.compatible and not (self._fetches and deeds <= _FETCHING):
            return False
        if any(t.value in _PLAIN and not self._plain(t) for t in (one, two)):
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

    def _plain(self, token: Token) -> bool:
        words = self._lex.words
        return any(token.word in words[name] for name in _PLAIN_WORDS)

    def _drop_compatible(self, left_reference: list[Token], left_query: list[Token]) -> None:
        for one in list(left_reference):
            two = next((t for t in left_query if self._compatible(one, t)), None)
            if two is not None:
                left_reference.remove(one)
                left_query.remove(two)
                self._matched = True

    def _carried(self, token: Token) -> bool:
        """Whether a verb adds nothing beside the deed both sides name."""
        shows = token.value in _SHOWING and (self._informs or self._does) and not _describes(token)
        return (self._matched and token.value in self._lex.classes["light"]) or shows

    def _heavy(self, token: Token) -> bool:
        return not self._carried(token) and token.value not in self._lex.classes["light"]

    def _light(self, token: Token) -> bool:
        return not self._carried(token) and token.value in self._lex.classes["light"]

    def _lost(self, left_reference: list[Token]) -> bool:
        """Whether a deed of the reference's has no counterpart; one that only informs may go
        unsaid beside a goal that names no deed.
        """
        basic = self._lex.classes["basic"] | self._lex.classes["light"]
        informing = self._lex.classes["informing"]
        return any(
            t.value not in basic and (t.value not in informing or bool(self._heads_query))
            for t in left_reference
        )


_ARTICLES = frozenset({"the", "a", "my", "this", "that"})


def _orders(token: Token) -> bool:
    """Whether a word is a verb that may be an order."""
    return token.kind is Kind.ACTION and not token.describes


_KNOWN_THINGS = _ARTICLES - {"a"} | {"all", "every", "each"}
_RUNNING = frozenset({"run", "start", "test", "open"})


@lru_cache(maxsize=MEMO)
def _runs(goal: Goal) -> bool:
    return any(
        one.kind is Kind.ACTION
        and one.value == "run"
        and (two.word in _KNOWN_THINGS or two.kind in _ENDS_OBJECT)
        for one, two in pairwise(goal.tokens)
    )


@lru_cache(maxsize=MEMO)
def _doubled(goal: Goal) -> bool:
    said = [t for t in goal.tokens if t.word not in _ARTICLES]
    return any(
        one.action
        and one.kind is Kind.ACTION
        and one.action == two.action
        and two.kind is Kind.WORD
        for one, two in pairwise(said)
    )


def _describes(token: Token) -> bool:
    """Whether a verb of showing describes a thing: "an enumerated list" is no list."""
    return token.value in _SHOWING and token.word.endswith("ed")
