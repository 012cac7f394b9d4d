"""What stands in a new goal where the old one has its slots' values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType
from llmos_workers.learning.matching.arguments import delimited
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.longer import longer
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.phrases import (
    ARTICLES,
    KIND_NOUNS,
    MAX_PHRASE_WORDS,
    Change,
    Phrases,
)
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Token
from llmos_workers.learning.matching.values import may_name, may_vary, same_kind, whole_token
from llmos_workers.learning.matching.written import (
    joined,
    joined_words,
    measured,
    named_around,
    parts,
    rest_of_word,
    written_word,
)

_FILES = {Kind.FILE, Kind.PATH}


class Claims(Phrases):
    """Finds what stands in the query where the reference has its slots' values."""

    def __init__(self, trace: ExecutionTrace, goal: Goal, query: Goal, lex: Lexicon) -> None:
        super().__init__(trace, goal, query, lex)
        self._actions = [t.value for t in goal.tokens if t.kind is Kind.ACTION]

    def changes(self) -> list[Change] | None:
        """One change per slot whose value the query does not repeat; None if any is unclear.

        What is certain is claimed first: values in the same role, phrases in the same place.
        What is left may go without a role ("rename a to b", "rename a as b").
        """
        found: list[Change | None] = []
        unclear: list[tuple[Slot, list[Token]]] = []
        for slot in self._trace.slots:
            tokens = self._tokens_of(slot)
            if self._is_left(slot, tokens):
                change = self._change(slot, tokens)
                if change is None:
                    unclear.append((slot, tokens))
                    continue
            else:
                change = self._extended(slot, tokens)
                if change is None and self._stands_whole(tokens):
                    continue
                change = change or self._grown(slot, tokens)
            found.append(self._whole(change, tokens))
        for slot, tokens in unclear:
            found.append(self._whole(self._change(slot, tokens, loose=True), tokens))
        sure = [change for change in found if change is not None]
        return sure if len(sure) == len(found) else None

    def _is_left(self, slot: Slot, tokens: Sequence[Token]) -> bool:
        """Whether the query does not repeat a value: of a joined one ("app:dev"), as a whole."""
        if any(token in self._left_goal for token in tokens):
            return True
        return bool(joined(slot.value)) and slot.value.lower() not in self._query.text.lower()

    def _stands_whole(self, tokens: Sequence[Token]) -> bool:
        """Whether a value that the query repeats is no part of a longer written word there."""
        theirs = [self._partner[t] for t in tokens if t in self._partner]
        if not theirs or any(token.kind is not Kind.WORD for token in (*tokens, *theirs)):
            return True
        mine = rest_of_word(self._goal.text, tokens[0].start, tokens[-1].end)
        return mine == rest_of_word(self._query.text, theirs[0].start, theirs[-1].end)

    def _grown(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A name that another word is written to ("shop-eu" for "shop"), behind the same word."""
        theirs = [self._partner[t] for t in tokens if t in self._partner]
        mine, other = self._before(self._goal, tokens[0]), self._before(self._query, theirs[0])
        if mine is None or mine.kind is not Kind.WORD or self._partner.get(mine) is not other:
            return None
        return self._changed(slot, tokens, theirs[0].start, theirs[-1].end)

    @staticmethod
    def _before(goal: Goal, token: Token) -> Token | None:
        """What stands right before a token, whatever it is."""
        return next((t for t in reversed(goal.tokens) if t.end <= token.start), None)

    def _whole(self, change: Change | None, old: Sequence[Token]) -> Change | None:
        """The change with all of the written word that the new value stands in, as far as the old
        one is all of its own; None if another value has a share in it.
        """
        if change is None:
            return None
        mine = rest_of_word(self._goal.text, old[0].start, old[-1].end)
        rest = rest_of_word(self._query.text, change.start, change.end)
        inside = [t for t in self._query.said if change.start <= t.start and t.end <= change.end]
        if rest != mine and not (len(inside) == 1 and measured(inside[0], rest)):
            low, high = written_word(self._query.text, change.start, change.end)
            low = change.start if rest[0] == mine[0] else low
            high = change.end if rest[1] == mine[1] else high
            more = [t for t in self._query.said if low <= t.start and t.end <= high]
            more = [token for token in more if token not in inside]
            if any(own and own != there for own, there in zip(mine, rest, strict=True)):
                return None
            if any(token not in self._free for token in more):
                return None
            self._free = [token for token in self._free if token not in more]
            change = replace(change, new=self._query.text[low:high], start=low, end=high)
        if old[0].kind is Kind.WORD:
            change = self._named(change)
        return self._as_slotted(change, old)

    def _named(self, change: Change) -> Change:
        """The change with closed words that are part of the name: see written.named_around."""
        taken = [t for t in self._query.tokens if t.kind is Kind.STOP or t in self._free]
        closed = {token.word for token in taken if token.text[0].isupper()}
        start, end = named_around(self._query.text, change.start, change.end, closed)
        self._free = [t for t in self._free if not (start <= t.start and t.end <= end)]
        return replace(change, new=self._query.text[start:end], start=start, end=end)

    def _as_slotted(self, change: Change, old: Sequence[Token]) -> Change:
        """The change with what a slot's value has around its tokens: an article, a hyphen."""
        span = delimited(change.slot.value).search(self._goal.text)
        if span is None or change.old != self._goal.text[old[0].start : old[-1].end]:
            return change
        before = self._goal.text[span.start() : old[0].start]
        behind = self._goal.text[old[-1].end : span.end()]
        start, end = change.start, change.end
        article = self._article_before(self._query, start)
        if before.strip().lower() in ARTICLES and article:
            start = article.start
        elif not self._query.text[:start].lower().endswith(before.lower()):
            before = ""
        else:
            start -= len(before)
        if self._query.text[end : end + len(behind)].lower() == behind.lower():
            end += len(behind)
        else:
            behind = ""
        new = self._query.text[start:end]
        return replace(change, old=before + change.old + behind, new=new, start=start, end=end)

    def _change(self, slot: Slot, tokens: Sequence[Token], *, loose: bool = False) -> Change | None:
        """A name may become another name; anything else stays of its kind."""
        hyphened = self._hyphened(slot, tokens)
        if hyphened:
            return hyphened
        signs = joined(slot.value)
        if signs and len(tokens) > 1:
            return self._joined(slot, tokens, signs)
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

    def _joined(self, slot: Slot, tokens: Sequence[Token], signs: str) -> Change | None:
        """A word joined by signs: one joined likewise that no other slot's value stands in; of
        several the one that has a part in common.
        """
        others = {other.value.lower() for other in self._trace.slots} - {slot.value.lower()}
        text = self._query.text
        spans = [s for s in joined_words(text, signs) if text[slice(*s)].lower() not in others]
        if len(spans) > 1:
            own = parts(slot.value)
            shared = [2 * len(parts(text[slice(*s)]) & own) for s in spans]
            led = [self._led_alike(tokens[0], start) for start, _ in spans]
            shared = [n + behind for n, behind in zip(shared, led, strict=True)]
            spans = [s for s, n in zip(spans, shared, strict=True) if n == max(shared) > 0]
        if len(spans) != 1:
            return None
        start, end = spans[0]
        self._free = [t for t in self._free if not (start <= t.start and t.end <= end)]
        return self._changed(slot, tokens, start, end)

    def _led_alike(self, old: Token, start: int) -> bool:
        """Whether the same word stands before the old value and a place in the query."""
        mine = [t for t in self._goal.said if t.end <= old.start][-1:]
        theirs = [t for t in self._query.said if t.end <= start][-1:]
        return bool(mine and theirs) and self._partner.get(mine[0]) is theirs[0]

    def _hyphened(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A word of hyphened parts of which one changed: "prod-us" for "prod-eu"."""
        theirs = [self._partner[t] for t in tokens if t in self._partner]
        if len(tokens) < 2 or not theirs or "-" not in slot.value or " " in slot.value:
            return None
        start, end = written_word(self._query.text, theirs[0].start, theirs[0].end)
        inside = [t for t in self._query.said if start <= t.start and t.end <= end]
        own = all(token in self._free or token in theirs for token in inside)
        new = self._query.text[start:end]
        if not own or "-" not in new or new.lower() == slot.value.lower():
            return None
        self._free = [token for token in self._free if token not in inside]
        return self._changed(slot, tokens, start, end)

    def _extended(self, slot: Slot, tokens: Sequence[Token]) -> Change | None:
        """A value that got longer: see longer.py."""
        theirs = [self._partner[t] for t in tokens if t in self._partner]
        if not slot.declared or slot.type not in (SlotType.TEXT, SlotType.NAME) or not theirs:
            return None
        if len(theirs) != len(tokens) or any(t.kind is not Kind.WORD for t in (*tokens, *theirs)):
            return None
        kinds = self._lex.words["filler"] | KIND_NOUNS
        row = longer(
            tokens, theirs, goal=self._goal, query=self._query, free=self._free, fillers=kinds
        )
        if not row or len(row) > MAX_PHRASE_WORDS:
            return None
        self._free = [token for token in self._free if token not in row]
        return self._changed(slot, tokens, row[0].start, row[-1].end)

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
        return self._changed(slot, old, rows[0][0].start, rows[0][-1].end)

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


def _like(one: Token, other: Token) -> bool:
    """Whether two values could be told apart by their place only."""
    kinds = {one.kind, other.kind}
    return one.role is other.role and (len(kinds) == 1 or kinds == _FILES)


def _written(token: Token) -> str:
    """A value as it can stand anywhere: a number in digits ("half an hour" is 30 minutes)."""
    return token.value if token.kind is Kind.NUMBER else token.text
