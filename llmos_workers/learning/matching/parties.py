"""Who sends and who gets it? The mails Ann sent are from her, those she has not read are to her."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.owners import is_possessive
from llmos_workers.learning.matching.tokens import MEMO, Kind, Role, Token

if TYPE_CHECKING:
    from llmos_workers.learning.matching.parse import Goal
    from llmos_workers.learning.matching.sides import Sides

_SENT = frozenset(
    {"sent", "emailed", "e-mailed", "mailed", "messaged", "wrote", "written", "forwarded",
     "shared", "uploaded", "posted", "gave", "given", "texted", "paid", "submitted", "delivered",
     "transferred", "wired", "slacked", "dispatched", "shipped", "published", "told", "asked",
     "ordered", "placed", "bought", "handed", "passed", "lent", "faxed", "returned", "billed",
     "invoiced", "charged", "called", "phoned", "replied", "answered"}
)  # fmt: skip
_GOT = frozenset({"received", "got", "read", "opened", "seen"})
_BETWEEN = frozenset({"has", "have", "had", "just", "already", "not", "never", "since", "also"})
"""May stand between one and what he did. "Was" turns it round."""
_ME = frozenset({"i", "we"})
_TO_ME = frozenset({"me", "us"})
_LEADING = frozenset({"to", "for", "of", "with", "in", "on", "at", "about", "from", "by", "into"})
_ARTICLES = frozenset({"the", "a", "an", "my", "our", "your"})
_TELLING = frozenset(
    {"send", "email", "e-mail", "mail", "message", "forward", "tell", "ask", "remind", "text",
     "give", "notify", "write", "pay", "call", "reply", "slack", "dm", "show", "inform", "fwd"}
)  # fmt: skip
_OF_PEOPLE = frozenset({"tell", "ask", "remind", "notify", "inform", "call", "text"})
"""Their first object is whom they address, whatever follows."""
_THINGS_FOLLOW = _ARTICLES | {"that", "this", "about", "his", "her", "their", "its", "all", "if"}
_MESSAGES = frozenset({"email", "message", "letter", "note", "reply", "post", "tweet", "invite"})
_PEOPLE = frozenset({Kind.WORD, Kind.EMAIL, Kind.IDENTIFIER, Kind.CHANNEL})
_ME_TOO = "me"

Party = Token | str


def sent_otherwise(sides: Sides) -> bool:
    """Whether one who gives on one side gets on the other, or another one is addressed."""
    mine, theirs = _parties(sides.reference), _parties(sides.query)
    partner: dict[Party, Party] = dict(sides.alignment.pairs)
    gives = {partner.get(party) for party in mine.giving}
    gets = {partner.get(party) for party in mine.getting}
    if gives & theirs.getting - {None} or gets & theirs.giving - {None}:
        return True
    turned = {mine.mine(), theirs.mine()} == {"gives", "gets"}
    if turned or _done_by_me(mine, theirs, partner):
        return True
    return _addressed_otherwise(mine, theirs, partner)


def _addressed_otherwise(mine: _Parties, theirs: _Parties, partner: dict[Party, Party]) -> bool:
    """Tell "tell Ann that I am late" from "tell me that Ann is late", "remind Ann to call me" from
    "remind me to call Ann".
    """
    if not (mine.addressed and theirs.addressed):
        return False
    for verb, parties in mine.addressed.items():
        known = partner.get(verb)
        others = theirs.addressed.get(known) if isinstance(known, Token) else None
        if others and others.isdisjoint({partner.get(party, party) for party in parties}):
            return True
    whom = {partner.get(party, party) for party in set().union(*mine.addressed.values())}
    return whom.isdisjoint(theirs.getting.union(*theirs.addressed.values()))


def _done_by_me(mine: _Parties, theirs: _Parties, partner: dict[Party, Party]) -> bool:
    """Tell "what I owe Peter" from "what Peter owes me"."""
    return any(partner.get(verb) in theirs.to_me for verb in mine.by_me) or any(
        partner.get(verb) in theirs.by_me for verb in mine.to_me
    )


class _Parties:
    """Who gives and who gets, as far as a goal says it."""

    def __init__(self, goal: Goal) -> None:
        self.giving: set[Party] = set()
        self.getting: set[Party] = set()
        self.addressed: dict[Token, set[Party]] = {}
        """Whom each verb has right behind it: "send Ann the bill"."""
        self.by_me: set[Party] = set()
        self.to_me: set[Party] = set()
        """Verbs of which I am the subject, and those that have me behind them."""
        self._text, tokens = goal.text, goal.tokens
        for before, token in pairwise(tokens):
            if before.word in _ME and token.kind is not Kind.STOP:
                self.by_me.add(token)
            if token.value in _TO_ME and before.kind is not Kind.STOP:
                self.to_me.add(before)
        for at, token in enumerate(tokens):
            words = token.word.split() or [""]
            if words[-1] in _SENT:
                self._sender(tokens, at)
            elif words[-1] in _GOT:
                self._add(self.getting, self._subject(tokens, at))
            elif token.kind is not Kind.STOP and words[0] in _TELLING:
                self._address(tokens, at)
            if token.role is not None and token.kind in _PEOPLE:
                side = self.giving if token.role is Role.SOURCE else self.getting
                side.add(token)
            if token.kind is Kind.WORD and is_possessive(goal.text, token):
                after = tokens[at + 1] if at + 1 < len(tokens) else None
                if after is not None and after.value in _MESSAGES:
                    self.giving.add(token)

    def mine(self) -> str:
        """Whether I give or get; empty if neither or both."""
        gives, gets = _ME_TOO in self.giving, _ME_TOO in self.getting
        return "" if gives == gets else "gives" if gives else "gets"

    def _add(self, side: set[Party], parties: Sequence[Party]) -> None:
        for party in parties:
            if isinstance(party, str) or party.role is None:
                side.add(party)

    def _sender(self, tokens: Sequence[Token], at: int) -> None:
        subject = self._subject(tokens, at)
        if not subject:
            return
        self._add(self.giving, subject)
        behind = [t for t in tokens[at + 1 : at + 3] if t.value not in _ARTICLES]
        if not behind:
            return
        if behind[0].value in ("for", "with"):
            behind = behind[1:]
        if not behind:
            return
        if behind[0].value in _TO_ME:
            self.getting.add(_ME_TOO)
        elif behind[0].kind in _PEOPLE and not is_possessive(self._text, behind[0]):
            self._add(self.getting, behind[:1])

    def _subject(self, tokens: Sequence[Token], at: int) -> list[Party]:
        """The name right before a verb, unless a preposition leads it in."""
        before = at - 1
        while before >= 0 and tokens[before].word in _BETWEEN:
            before -= 1
        if before >= 0 and tokens[before].word in _ME:
            return [_ME_TOO]
        found: list[Party] = []
        while before >= 0 and tokens[before].kind in _PEOPLE and len(found) < 2:
            found.append(tokens[before])
            before -= 1
            if not self._text[tokens[before].end : tokens[before + 1].start].isspace():
                break
        if before >= 0 and tokens[before].value in _ARTICLES:
            before -= 1
        led = before >= 0 and tokens[before].value in _LEADING
        return [] if led else found

    def _address(self, tokens: Sequence[Token], at: int) -> None:
        """Note whom a verb of sending or telling has as its first object."""
        behind = tokens[at + 1 : at + 4]
        if not behind:
            return
        if behind[0].value in _TO_ME:
            self.addressed[tokens[at]] = {_ME_TOO}
            return
        if tokens[at].word in _OF_PEOPLE and behind[0].value in _ARTICLES:
            noun = behind[1] if len(behind) > 1 else None
            if noun and noun.kind is Kind.WORD and not is_possessive(self._text, noun):
                self.addressed[tokens[at]] = {noun}
            return
        end = 0
        while end < len(behind) and _is_name(behind[end]):
            end += 1
        if not end or any(is_possessive(self._text, t) for t in behind[:end]):
            return
        after = tokens[at + 1 + end] if at + 1 + end < len(tokens) else None
        people = tokens[at].word in _OF_PEOPLE
        address = behind[0].kind is Kind.EMAIL
        if people or address or after is None or after.word in _THINGS_FOLLOW:
            self.addressed[tokens[at]] = set(behind[:end])
            self._add(self.getting, behind[:end])


@lru_cache(maxsize=MEMO)
def _parties(goal: Goal) -> _Parties:
    return _Parties(goal)


def _is_name(token: Token) -> bool:
    return token.kind is Kind.EMAIL or (token.kind is Kind.WORD and token.text[:1].isupper())
