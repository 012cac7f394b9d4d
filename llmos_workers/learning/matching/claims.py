"""What stands in a new goal where the old one has its slots' values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType
from llmos_workers.learning.matching.align import Alignment, align
from llmos_workers.learning.matching.arguments import delimited
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Token
from llmos_workers.learning.matching.values import may_name, may_vary, same_kind, whole_token

MAX_PHRASE_WORDS = 5
_ARTICLES = frozenset({"the", "a", "an"})
_ANY = frozenset({"any", "another", "other"})
_POINTING = frozenset(
    {"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs",
     "this", "that", "these", "those", "there", "here", "someone", "somebody", "something",
     "anyone", "anybody", "anything", "everyone", "everybody", "everything", "one", "ones",
     "somewhere", "anywhere", "everywhere", "same"}
)  # fmt: skip
"""What means another thing in every goal, or any."""
_OWNING = frozenset({"'s", "\u2019s", "'", "\u2019"})
_INSIDE_PHRASE = frozenset({"of", "the", "de", "la"})
_ON_TOPIC = frozenset({"about", "on", "of", "for", "regarding", "concerning"})
_BREAK = re.compile(r"[,;:!?]")
_JOINING = ("preposition", "leading", "coordination")
"""Words that lead to the next thing: never part of a name."""
_FILES = {Kind.FILE, Kind.PATH}


@dataclass(frozen=True, slots=True)
class Change:
    """A slot's new value and where it stands in the query."""

    slot: Slot
    old: str
    """The old value as the reference writes it."""
    new: str
    start: int
    end: int


class Claims:
    """Finds what stands in the query where the reference has its slots' values."""

    def __init__(self, trace: ExecutionTrace, goal: Goal, query: Goal, lex: Lexicon) -> None:
        self._trace, self._goal, self._query, self._lex = trace, goal, query, lex
        self._alignment: Alignment = align(goal, query, lex)
        _part_traded(self._alignment)
        self._partner = self._alignment.partner()
        self._left_goal = set(self._alignment.left_reference)
        self._free = list(self._alignment.left_query)
        self._left_query = set(self._free)
        self._actions = [t.value for t in goal.tokens if t.kind is Kind.ACTION]
        self._heads = [t for t in query.tokens if t.kind is Kind.ACTION][:1]

    def changes(self) -> list[Change] | None:
        """One change per slot whose value the query does not repeat; None if any is unclear.

        What is certain is claimed first: values in the same role, phrases in the same place.
        What is left may go without a role ("rename a to b", "rename a as b").
        """
        found: list[Change] = []
        unclear: list[tuple[Slot, list[Token]]] = []
        for slot in self._trace.slots:
            tokens = self._tokens_of(slot)
            if any(token in self._left_goal for token in tokens):
                change = self._change(slot, tokens)
            else:
                change = self._extended(slot, tokens)
                if change is None:
                    continue
            if change is None:
                unclear.append((slot, tokens))
            else:
                found.append(change)
        for slot, tokens in unclear:
            change = self._change(slot, tokens, loose=True)
            if change is None:
                return None
            found.append(change)
        return found

    def _change(self, slot: Slot, tokens: Sequence[Token], *, loose: bool = False) -> Change | None:
        """A name may become another name; anything else stays of its kind."""
        typed = len(tokens) == 1 and tokens[0].kind in ANCHORS
        if typed and any(t.kind is tokens[0].kind for t in self._free):
            return self._typed(slot, tokens[0], loose=loose)
        if all(may_name(token) or token.kind is Kind.ACTION for token in tokens):
            phrase = self._phrase(slot, tokens)
            if phrase or len(tokens) > 1:
                return phrase
        if len(tokens) > 1:
            return self._row(slot, tokens)
        return self._typed(slot, tokens[0], loose=loose)

    def _extended(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A value that got longer: "about black cats" for "about cats", "Paris, Texas"."""
        theirs = [self._partner[t] for t in tokens if t in self._partner]
        if not slot.declared or slot.type not in (SlotType.TEXT, SlotType.NAME) or not theirs:
            return None
        if len(theirs) != len(tokens) or any(t.kind is not Kind.WORD for t in (*tokens, *theirs)):
            return None
        start, end = theirs[0].start, theirs[-1].end
        row = list(self._query.tokens)
        low, high = row.index(theirs[0]), row.index(theirs[-1])
        if row[low : high + 1] != theirs:
            return None
        first = self._premodified(row, low, tokens[0])
        last = self._surnamed(row, high)
        taken = [*row[first:low], *row[high + 1 : last + 1]]
        if not taken or len(taken) + len(tokens) > MAX_PHRASE_WORDS:
            return None
        self._free = [token for token in self._free if token not in taken]
        start, end = row[first].start, row[last].end
        old = self._goal.text[tokens[0].start : tokens[-1].end]
        return Change(slot, old, self._query.text[start:end], start, end)

    def _premodified(self, row: Sequence[Token], low: int, old: Token) -> int:
        """Where the words before a topic begin that only narrow it down; ``low`` if none do."""
        before = [t for t in self._goal.tokens if t.end <= old.start][-1:]
        if not before or before[0].value not in _ON_TOPIC:
            return low
        first = low
        while first and row[first - 1] in self._free and row[first - 1].kind is Kind.WORD:
            first -= 1
        return first if first and row[first - 1].value in _ON_TOPIC else low

    def _surnamed(self, row: Sequence[Token], high: int) -> int:
        """Where a name ends that goes on behind the known one."""
        last = high
        while row[high].text[0].isupper() and last + 1 < len(row) and self._goes_on(row, last):
            last += 1
        return last

    def _goes_on(self, row: Sequence[Token], at: int) -> bool:
        name, gap = row[at + 1], self._query.text[row[at].end : row[at + 1].start]
        capital = name.kind is Kind.WORD and name.text[0].isupper()
        return capital and name in self._free and gap in (" ", ", ")

    def _tokens_of(self, slot: Slot) -> list[Token]:
        """The reference's tokens that are the slot's value."""
        match = delimited(slot.value).search(self._goal.text)
        if match:
            lo, hi = match.span()
            return [t for t in self._goal.said if lo <= t.start and t.end <= hi]
        wanted = whole_token(slot.value)
        same = (t for t in self._goal.said if wanted and t.kind is wanted.kind)
        return [t for t in same if wanted and t.value == wanted.value][:1]

    def _typed(self, slot: Slot, old: Token, *, loose: bool) -> Change | None:
        if not may_vary(old, self._lex):
            return None
        fitting = [t for t in self._free if same_kind(old, t, self._actions, self._lex)]
        new = self._only_one(old) if loose and not fitting else self._most_alike(old, fitting)
        if new is None:
            return None
        self._free.remove(new)
        return Change(slot, _written(old), new.text, new.start, new.end)

    def _only_one(self, old: Token) -> Token | None:
        """The only free value of the kind, if one side leaves its role unsaid."""
        free = [t for t in self._free if t.kind is old.kind or {t.kind, old.kind} == _FILES]
        if len(free) != 1 or not same_kind(old, free[0], self._actions, self._lex, unsaid=True):
            return None
        return None if self._listed(free[0]) else free[0]

    def _listed(self, token: Token) -> bool:
        """Whether a value is one more of a list: "to /b, /c" names no source."""
        before = [t for t in self._query.tokens if t.end <= token.start][-1:]
        gap = self._query.text[before[0].end : token.start] if before else ""
        return bool(before) and before[0].kind is token.kind and "," in gap

    def _row(self, slot: Slot, old: Sequence[Token]) -> Change | None:
        """A value of several typed tokens ("1 March", "20%"): the only row of the same kinds."""
        theirs = self._query.said
        rows = [theirs[at : at + len(old)] for at in range(len(theirs) - len(old) + 1)]
        rows = [row for row in rows if all(map(self._replaces, old, row))]
        if len(rows) != 1:
            return None
        self._free = [token for token in self._free if token not in rows[0]]
        start, end = rows[0][0].start, rows[0][-1].end
        before = self._goal.text[old[0].start : old[-1].end]
        return Change(slot, before, self._query.text[start:end], start, end)

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
        mine = [t for t in self._goal.said if t in self._left_goal and _like(t, old)]
        theirs = [t for t in self._query.said if t in self._left_query and _like(t, old)]
        if len(mine) != len(theirs):
            return None
        same = theirs[mine.index(old)]
        return same if same in tops else None

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

    def _phrase(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A value of plain words: the run of new words that stands in its place."""
        runs = self._runs(slot, tokens)
        if len(runs) > 1:
            alike = [run for run in runs if run[0].role is tokens[0].role]
            runs = alike if tokens[0].role else runs
        if len(runs) > 1:
            scores = [self._fit(tokens, run) for run in runs]
            runs = [r for r, score in zip(runs, scores, strict=True) if score == max(scores) > 0]
        if len(runs) != 1:
            return None
        run, trimmed = self._trim(runs[0])
        if self._names_nothing(tokens, run):
            return None
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
        return Change(slot, self._goal.text[tokens[0].start : tokens[-1].end], new, start, end)

    def _names_nothing(self, old: Sequence[Token], run: Sequence[Token]) -> bool:
        """Whether a run only points at a thing or describes it: "him", "her team", "Ann's
        sister", or "a random playlist" for the playlist of a name.
        """
        owned = self._owning(self._query, run) and not self._owning(self._goal, old)
        if run[0].word in _POINTING or owned:
            return True
        indefinite = self._article_before(self._query, run[0].start)
        if indefinite is None or indefinite.value == "the" or not self._leads_noun(run[-1]):
            return False
        noun = next(t for t in self._query.tokens if t.start > run[-1].start)
        mine = self._partner.get(noun)
        article = self._article_before(self._goal, mine.start) if mine else None
        return article is not None and article.value == "the"

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


def _like(one: Token, other: Token) -> bool:
    """Whether two values could be told apart by their place only."""
    kinds = {one.kind, other.kind}
    return one.role is other.role and (len(kinds) == 1 or kinds == _FILES)


def _written(token: Token) -> str:
    """A value as it can stand anywhere: a number in digits ("half an hour" is 30 minutes)."""
    return token.value if token.kind is Kind.NUMBER else token.text


def _at(tokens: Sequence[Token], at: int) -> Token | None:
    return tokens[at] if 0 <= at < len(tokens) else None
