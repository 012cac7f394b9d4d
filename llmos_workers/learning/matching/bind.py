"""Bind a trace's slots to a new goal: put the old values back, and see if it is the old goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.trace import ExecutionTrace, Slot
from llmos_workers.learning.matching.align import Alignment, align
from llmos_workers.learning.matching.arguments import delimited, names_program, places
from llmos_workers.learning.matching.compare import MAX_TOKENS, Comparison, compare
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.matching.lexicon import Lexicon, lexicon
from llmos_workers.learning.matching.parse import Goal, parse, parse_beside
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Token
from llmos_workers.learning.matching.typos import is_slip
from llmos_workers.learning.matching.values import (
    forms_of,
    may_name,
    may_vary,
    refuse_value,
    same_kind,
    whole_token,
)

MAX_PHRASE_WORDS = 5
_ARTICLES = frozenset({"the", "a", "an"})
_ANY = frozenset({"any", "another", "other"})
_INSIDE_PHRASE = frozenset({"of", "the", "de", "la"})

Judge = Callable[[str], Comparison]
"""Holds the goal with its old values put back against the reference."""


@dataclass(frozen=True, slots=True)
class Binding:
    """New values for all slots of a trace (unchanged ones included)."""

    slots: dict[str, str]
    confidence: float
    """P(same) of the new goal with the old values put back."""
    why: str
    """In words, for people."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A slot's new value and where it stands in the query."""

    slot: Slot
    old: str
    """The old value as the reference writes it."""
    new: str
    start: int
    end: int


def bind(
    trace: ExecutionTrace,
    reference: str,
    query: str,
    embed: Callable[[str], Embedding],
    *,
    judge: Judge | None = None,
) -> Binding | None:
    """Values of the trace's slots in ``query``; None if it is not the reference with other
    values, if a value could not safely be put into the calls, or if nothing changed.
    """
    if not trace.slots:
        return None
    lex = lexicon()
    goal = parse(reference)
    other = parse_beside(query, goal)
    if max(len(goal.tokens), len(other.tokens)) > MAX_TOKENS:
        return None
    changes = _Matching(trace, goal, other, lex).changes()
    if not changes or not _fits(changes, trace):
        return None
    restored = query
    for change in sorted(changes, key=lambda c: -c.start):
        restored = restored[: change.start] + change.old + restored[change.end :]
    held = judge(restored) if judge else compare(reference, restored, embed)
    values = {slot.name: slot.value for slot in trace.slots}
    values |= {change.slot.name: change.new for change in changes}
    told = ", ".join(f"{c.slot.name} = {c.new!r} instead of {c.old!r}" for c in changes)
    return Binding(values, held.confidence, told)


def _fits(changes: Sequence[_Change], trace: ExecutionTrace) -> bool:
    """Whether each new value may stand in the calls, and no two claims contradict."""
    by_old: dict[str, str] = {}
    spans: set[int] = set()
    for change in changes:
        if by_old.setdefault(change.slot.value.lower(), change.new) != change.new:
            return False
        if change.start in spans or _is_misspelled(change.old, change.new):
            return False
        spans.add(change.start)
        where = [p for form in set(forms_of(change.slot.value)) for p in places(form, trace.steps)]
        if not change.slot.declared:
            where = [place for place in where if not place.content]
            if names_program(change.slot.value, trace.steps):
                return False
        if not where or refuse_value(change.slot.value, change.new, where):
            return False
    return True


def _is_misspelled(old: str, new: str) -> bool:
    """Whether a new value looks like the old one with a slip, not like another one."""
    words = new.lower().split()
    if not all(word.isalpha() for word in words) or not is_slip(new.lower(), old.lower()):
        return False
    return any(not lexicon().speller.is_word(word) for word in words)


class _Matching:
    """Finds what stands in the query where the reference has its slots' values."""

    def __init__(self, trace: ExecutionTrace, goal: Goal, query: Goal, lex: Lexicon) -> None:
        self._trace, self._goal, self._query, self._lex = trace, goal, query, lex
        self._alignment: Alignment = align(goal.said, query.said, lex)
        _part_traded(self._alignment)
        self._partner = self._alignment.partner()
        self._left_goal = set(self._alignment.left_reference)
        self._free = list(self._alignment.left_query)
        self._actions = [t.value for t in goal.tokens if t.kind is Kind.ACTION]

    def changes(self) -> list[_Change] | None:
        """One change per slot whose value the query does not repeat; None if any is unclear."""
        found: list[_Change] = []
        for slot in self._trace.slots:
            tokens = self._tokens_of(slot)
            if not any(token in self._left_goal for token in tokens):
                continue
            change = self._change(slot, tokens)
            if change is None:
                return None
            found.append(change)
        return found

    def _change(self, slot: Slot, tokens: Sequence[Token]) -> _Change | None:
        """A name may become another name; anything else stays of its kind."""
        if all(may_name(token) or token.kind is Kind.ACTION for token in tokens):
            phrase = self._phrase(slot, tokens)
            if phrase or len(tokens) > 1:
                return phrase
        return self._typed(slot, tokens[0]) if len(tokens) == 1 else self._row(slot, tokens)

    def _tokens_of(self, slot: Slot) -> list[Token]:
        """The reference's tokens that are the slot's value."""
        match = delimited(slot.value).search(self._goal.text)
        if match:
            lo, hi = match.span()
            return [t for t in self._goal.said if lo <= t.start and t.end <= hi]
        wanted = whole_token(slot.value)
        same = (t for t in self._goal.said if wanted and t.kind is wanted.kind)
        return [t for t in same if wanted and t.value == wanted.value][:1]

    def _typed(self, slot: Slot, old: Token) -> _Change | None:
        if not may_vary(old, self._lex):
            return None
        fitting = [t for t in self._free if same_kind(old, t, self._actions, self._lex)]
        new = self._most_alike(old, fitting)
        if new is None:
            return None
        self._free.remove(new)
        return _Change(slot, old.text, new.text, new.start, new.end)

    def _row(self, slot: Slot, old: Sequence[Token]) -> _Change | None:
        """A value of several typed tokens ("1 March", "20%"): the only row of the same kinds."""
        theirs = self._query.said
        rows = [theirs[at : at + len(old)] for at in range(len(theirs) - len(old) + 1)]
        rows = [row for row in rows if all(map(self._replaces, old, row))]
        if len(rows) != 1:
            return None
        self._free = [token for token in self._free if token not in rows[0]]
        start, end = rows[0][0].start, rows[0][-1].end
        before = self._goal.text[old[0].start : old[-1].end]
        return _Change(slot, before, self._query.text[start:end], start, end)

    def _replaces(self, old: Token, new: Token) -> bool:
        if self._partner.get(old) is new:
            return True
        return new in self._free and same_kind(old, new, self._actions, self._lex)

    def _most_alike(self, old: Token, fitting: Sequence[Token]) -> Token | None:
        """The candidate in the likest surroundings; on a tie the one in the same order."""
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        scores = [self._surroundings(old, token) for token in fitting]
        best = max(scores)
        tops = [t for t, score in zip(fitting, scores, strict=True) if score == best]
        if len(tops) == 1:
            return tops[0]
        rivals = [t for t in self._alignment.left_reference if t.kind is old.kind]
        if len(rivals) != len([t for t in self._alignment.left_query if t.kind is old.kind]):
            return None
        return tops[0]

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

    def _phrase(self, slot: Slot, tokens: Sequence[Token]) -> _Change | None:
        """A value of plain words: the run of new words that stands in its place."""
        runs = self._runs(slot, tokens)
        if len(runs) > 1:
            scores = [self._fit(tokens, run) for run in runs]
            runs = [r for r, score in zip(runs, scores, strict=True) if score == max(scores) > 0]
        if len(runs) != 1:
            return None
        run, trimmed = self._trim(runs[0])
        self._free = [token for token in self._free if token not in runs[0]]
        start = self._with_lead(run[0].start)
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
        return _Change(slot, self._goal.text[tokens[0].start : tokens[-1].end], new, start, end)

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
            and token.word in self._lex.words["filler"]
        )

    @staticmethod
    def _article_before(goal: Goal, start: int) -> Token | None:
        before = [t for t in goal.tokens if t.end <= start][-1:]
        return before[0] if before and before[0].value in _ARTICLES else None

    def _runs(self, slot: Slot, tokens: Sequence[Token]) -> list[list[Token]]:
        """Stretches of free open words, joined over partners of the value's own words."""
        own = {self._partner[t] for t in tokens if t in self._partner}
        runs: list[list[Token]] = []
        joined = False
        for token in self._query.tokens:
            free = token in self._free and self._may_be_name(slot, tokens, token)
            fits = free or token in own
            if fits:
                if joined:
                    runs[-1].append(token)
                else:
                    runs.append([token])
                joined = True
            elif token.kind is not Kind.STOP or token.value not in _INSIDE_PHRASE:
                joined = False
        return [run for run in runs if any(token in self._free for token in run)]

    def _may_be_name(self, slot: Slot, tokens: Sequence[Token], new: Token) -> bool:
        """Whether a free token may be (part of) the new value of a phrase."""
        if new.kind is Kind.ACTION:
            capital = new.text[0].isupper() and new.start > 0
            stands_alike = slot.declared and self._surroundings(tokens[0], new) > 0
            return bool(new.role) or capital or (stands_alike and new.start > 0)
        if new.kind is Kind.PATH and not slot.declared:
            return False
        return may_name(new)

    def _with_lead(self, start: int) -> int:
        """Take "New" of "New York" in, which is no word of its own elsewhere."""
        before = [t for t in self._query.tokens if t.end < start]
        while before and before[-1].word in self._lex.name_lead and start - before[-1].end == 1:
            start = before.pop().start
        return start


def _part_traded(alignment: Alignment) -> None:
    """Part values that trade places ("a to b", "b to a"): each may stand for the other's."""
    traded = [(a, b) for a, b in alignment.pairs if a.kind in ANCHORS and a.role is not b.role]
    if len(traded) > 1:
        alignment.pairs = [pair for pair in alignment.pairs if pair not in traded]
        alignment.left_reference += [one for one, _ in traded]
        alignment.left_query += [other for _, other in traded]


def _at(tokens: Sequence[Token], at: int) -> Token | None:
    return tokens[at] if 0 <= at < len(tokens) else None
