"""What stands in a new goal for a value of plain words: a name, a topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmos_workers.contracts.trace import ExecutionTrace, Slot
from llmos_workers.learning.matching.align import Alignment, align
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Role, Token
from llmos_workers.learning.matching.unsaid import plural
from llmos_workers.learning.matching.values import may_name
from llmos_workers.learning.matching.written import glued

MAX_PHRASE_WORDS = 5
ARTICLES = frozenset({"the", "a", "an"})
_ANY = frozenset({"any", "another", "other"})
_POINTING = frozenset(
    {"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs",
     "this", "that", "these", "those", "there", "here", "someone", "somebody", "something",
     "anyone", "anybody", "anything", "everyone", "everybody", "everything", "one", "ones",
     "somewhere", "anywhere", "everywhere", "same"}
)  # fmt: skip
"""What means another thing in every goal, or any."""
_ITS = frozenset({"its", "his", "her", "their"})
_OWNING = frozenset({"'s", "\u2019s", "'", "\u2019"})
_INSIDE_PHRASE = frozenset({"of", "the", "de", "la"})
_BREAK = re.compile(r"[,;:!?]")
_JOINING = ("preposition", "leading", "coordination")
"""Words that lead to the next thing: never part of a name."""
KIND_NOUNS = frozenset(
    {"account", "user", "host", "server", "service", "container", "deployment", "namespace",
     "branch", "tag", "table", "column", "group", "channel", "playlist", "bucket", "cluster",
     "database", "image", "package", "queue", "label", "room", "customer", "colleague"}
)  # fmt: skip
"""Nouns that say what kind of thing the name behind them names: no part of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A slot's new value and where it stands in the query."""

    slot: Slot
    old: str
    """The old value as the reference writes it."""
    new: str
    start: int
    end: int


class Phrases:
    """Two goals side by side, and the runs of new words that may be a value's."""

    def __init__(self, trace: ExecutionTrace, goal: Goal, query: Goal, lex: Lexicon) -> None:
        self._trace, self._goal, self._query, self._lex = trace, goal, query, lex
        self._alignment: Alignment = align(goal, query, lex)
        _part_traded(self._alignment)
        self._partner = self._alignment.partner()
        self._left_goal = set(self._alignment.left_reference)
        self._free = list(self._alignment.left_query)
        self._left_query = set(self._free)
        self._heads = [t for t in query.tokens if t.kind is Kind.ACTION][:1]

    def _surroundings(self, old: Token, new: Token) -> int:
        """How many direct neighbours of the two are partners of each other."""
        return self._fit((old,), (new,))

    def _fit(self, old: Sequence[Token], new: Sequence[Token]) -> int:
        """The same for stretches: their outer neighbours."""
        mine, theirs = self._goal.said, self._query.said
        score = 0
        for end, step in ((0, -1), (-1, 1)):
            one = _at(mine, mine.index(old[end]) + step)
            two = _at(theirs, theirs.index(new[end]) + step)
            score += one is not None and two is not None and self._partner.get(one) is two
        return score

    def _changed(self, slot: Slot, old: Sequence[Token], start: int, end: int) -> Change:
        """A change of what some tokens of the reference say to a stretch of the query."""
        before = self._goal.text[old[0].start : old[-1].end]
        return Change(slot, before, self._query.text[start:end], start, end)

    def _phrase(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A value of plain words: the run of new words that stands in its place."""
        runs = self._runs(slot, tokens)
        if len(runs) > 1:
            alike = [run for run in runs if run[0].role is tokens[0].role]
            runs = alike if tokens[0].role else runs
        if len(runs) > 1:
            scores = [self._fit(tokens, run) for run in runs]
            runs = [r for r, score in zip(runs, scores, strict=True) if score == max(scores) > 0]
        if len(runs) != 1 or _leads_away(tokens[0], runs[0][0]) or _any_of_many(tokens, runs[0]):
            return None
        run, trimmed = self._trim(runs[0])
        if self._names_nothing(tokens, run):
            return None
        self._free = [token for token in self._free if token not in runs[0]]
        start = self._with_lead(run[0].start, tokens[0].start)
        alone = not trimmed and not self._leads_noun(run[-1])
        if alone and not self._article_before(self._goal, tokens[0].start):
            article = self._article_before(self._query, start)
            start = article.start if article else start
        end = run[-1].end
        if self._quantified(run[0]):
            return None
        new = self._query.text[start:end]
        words = new.lower().split()
        dull = self._lex.words["filler"] | self._lex.words["stop"]
        if len(words) > MAX_PHRASE_WORDS or all(word in dull for word in words):
            return None
        return self._changed(slot, tokens, start, end)

    def _names_nothing(self, old: Sequence[Token], run: Sequence[Token]) -> bool:
        """Whether a run only points at a thing or describes it: "him", "her team", "Ann's
        sister", or "a random playlist" for the playlist of a name.
        """
        owned = self._owning(self._query, run) and not self._owning(self._goal, old)
        if run[0].word in _POINTING or owned or self._of_another(old, run):
            return True
        if old[0].kind in ANCHORS and len(run) > 1:
            return True
        indefinite = self._article_before(self._query, run[0].start)
        if indefinite is None or indefinite.value == "the" or not self._leads_noun(run[-1]):
            return False
        noun = next(t for t in self._query.tokens if t.start > run[-1].start)
        mine = self._partner.get(noun)
        article = self._article_before(self._goal, mine.start) if mine else None
        return article is not None and article.value == "the"

    def _of_another(self, old: Sequence[Token], run: Sequence[Token]) -> bool:
        """Whether a run is a thing of what was named before, and the old value is not: "then go
        to its dock".
        """
        before = [t for t in self._query.tokens if t.end <= run[0].start][-1:]
        mine = [t for t in self._goal.tokens if t.end <= old[0].start][-1:]
        return _said_of(before) and bool(mine) and not _said_of(mine)

    @staticmethod
    def _owning(goal: Goal, row: Sequence[Token]) -> bool:
        """Whether something is another one's: "Ann's sister"."""
        gaps = (goal.text[one.end : two.start] for one, two in pairwise(row))
        return any(gap.strip().lower() in _OWNING for gap in gaps)

    def _quantified(self, first: Token) -> bool:
        """Whether "all", "any" or a number stands before: that is no name but a choice."""
        before = [t for t in self._query.tokens if t.start < first.start][-2:]
        return any(
            (t in self._free and t.kind is Kind.QUANTIFIER) or t.value in _ANY for t in before
        )

    def _trim(self, run: list[Token]) -> tuple[list[Token], bool]:
        """Leave out what only names the kind of thing: "the weight column", "topic of spring".

        Also whether such a word was behind the value: then an article before belongs to it.
        """
        start, end = 0, len(run)
        while end - start > 1 and self._only_a_kind(run[start]):
            start += 1
        while end - start > 1 and self._only_a_kind(run[end - 1]):
            end -= 1
        return run[start:end], end < len(run)

    def _leads_noun(self, token: Token) -> bool:
        """Whether another noun follows directly: then an article before belongs to that one."""
        after = [t for t in self._query.tokens if t.start > token.start][:1]
        return bool(after) and after[0].kind is not Kind.STOP and after[0].start == token.end + 1

    def _only_a_kind(self, token: Token) -> bool:
        return (
            token in self._alignment.left_query
            and token.text.islower()
            and token not in glued(self._query)
            and (token.word in self._lex.words["filler"] or token.word in KIND_NOUNS)
        )

    @staticmethod
    def _article_before(goal: Goal, start: int) -> Token | None:
        before = [t for t in goal.tokens if t.end <= start][-1:]
        return before[0] if before and before[0].value in ARTICLES else None

    def _runs(self, slot: Slot, tokens: Sequence[Token]) -> list[list[Token]]:
        """Stretches of free open words, joined over partners of the value's own words."""
        own = {self._partner[t] for t in tokens if t in self._partner}
        runs: list[list[Token]] = []
        joined = False
        for token in self._query.tokens:
            free = token in self._free and self._may_be_name(slot, tokens, token)
            fits = free or token in own
            if fits:
                if joined and not self._broken(runs[-1][-1], token):
                    runs[-1].append(token)
                else:
                    runs.append([token])
                joined = True
            elif token.kind is not Kind.STOP or token.value not in _INSIDE_PHRASE:
                joined = False
        return [run for run in runs if any(token in self._free for token in run)]

    def _broken(self, last: Token, token: Token) -> bool:
        """Whether a new clause or thing begins ("main, squash it"); "Paris, Texas" is one name."""
        if not _BREAK.search(self._query.text, last.end, token.start):
            return False
        return not (last.text[0].isupper() and token.text[0].isupper())

    def _may_be_name(self, slot: Slot, tokens: Sequence[Token], new: Token) -> bool:
        """Whether a free token may be (part of) the new value of a phrase."""
        if new.kind is Kind.ACTION:
            if tokens[0].kind is Kind.ACTION and slot.declared:
                return new not in self._heads
            capital = new.text[0].isupper() and new.start > 0
            stands_alike = slot.declared and self._surroundings(tokens[0], new) > 0
            return bool(new.role) or capital or (stands_alike and new.start > 0)
        if new.kind is Kind.PATH and not slot.declared:
            return False
        if any(new.text in self._lex.words[name] for name in _JOINING):
            return False
        return may_name(new)

    def _with_lead(self, start: int, old: int) -> int:
        """Take "New" of "New York" in, which is no word of its own elsewhere, nor before the old
        value: "the new rent".
        """
        before = [t for t in self._query.tokens if t.end < start]
        mine = {t.word for t in [t for t in self._goal.tokens if t.end < old][-1:]}
        while before and before[-1].word in self._lex.name_lead - mine:
            if start - before[-1].end != 1:
                break
            start = before.pop().start
        return start


def _part_traded(alignment: Alignment) -> None:
    """Part values that trade places ("a to b", "b to a"): each may stand for the other's."""
    traded = [(a, b) for a, b in alignment.pairs if a.role is not b.role and _may_trade(a, b)]
    if len(traded) > 1:
        alignment.pairs = [pair for pair in alignment.pairs if pair not in traded]
        alignment.left_reference += [one for one, _ in traded]
        alignment.left_query += [other for _, other in traded]


def _may_trade(one: Token, other: Token) -> bool:
    """Whether two equal values may be two slots': plain words only if both are led."""
    return one.kind in ANCHORS or (one.kind is Kind.WORD and None not in (one.role, other.role))


def _said_of(tokens: Sequence[Token]) -> bool:
    return any(token.word in _ITS for token in tokens)


def _at(tokens: Sequence[Token], at: int) -> Token | None:
    return tokens[at] if 0 <= at < len(tokens) else None


def _leads_away(old: Token, new: Token) -> bool:
    """Whether a value that something goes to would be one that nothing goes to: "euro to yen",
    "euro interest".
    """
    named = new.text[0].isupper()  # "give Bob" for "send it to Ann"
    return old.role is Role.DESTINATION and new.role is None and not named


def _any_of_many(old: Sequence[Token], new: Sequence[Token]) -> bool:
    """Whether a name would become several things of no name: "museums" for "the Stadtmuseum"."""
    named = old[0].text[0].isupper() and not any(t.text[0].isupper() for t in new)
    return named and plural(new[-1])
