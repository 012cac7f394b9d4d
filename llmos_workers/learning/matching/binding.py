"""Do equal words belong to equal things, and do things go the same way?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from llmos_workers.learning.matching.align import Pair
from llmos_workers.learning.matching.counts import counted_otherwise
from llmos_workers.learning.matching.deeds import deeds_moved
from llmos_workers.learning.matching.leads import led_otherwise
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.owners import owned_otherwise
from llmos_workers.learning.matching.parties import sent_otherwise
from llmos_workers.learning.matching.tokens import ANCHORS, MEMO, Kind, Role, Token
from llmos_workers.learning.matching.trades import (
    Row,
    comes_otherwise,
    row_of,
    traded,
    traded_around,
    traded_place,
)
from llmos_workers.learning.matching.unsaid import plural as _plural

if TYPE_CHECKING:
    from llmos_workers.learning.matching.sides import Sides

_MODIFIERS = frozenset({Kind.NUMBER, Kind.ORDER, Kind.NEGATION, Kind.COMPARISON})
_THINGS = ANCHORS | {Kind.FORMAT, Kind.SPEECH, Kind.LANGUAGE, Kind.WORD, Kind.DATE}
_SWAPPED = frozenset(
    {Kind.FILE, Kind.PATH, Kind.FORMAT, Kind.SPEECH, Kind.URL, Kind.QUOTE, Kind.IDENTIFIER}
    | {Kind.EMAIL, Kind.CHANNEL, Kind.GLOB}
)
"""Two of a kind in another order may have traded places: "in a but not in b"."""
_KIND_NAMES = frozenset({"branch", "file", "folder", "directory", "document", "format", "table"})
"""Nouns that only say what kind the thing beside them is."""
_LEAD_REACH = 2
_WAYS = (Role.SOURCE, Role.DESTINATION)


def binding_evidence(sides: Sides, lex: Lexicon) -> dict[str, float]:
    """Features about what belongs to what; see FEATURES."""
    things = [pair for pair in sides.alignment.pairs if _directed(pair)]
    conflict, added = _roles(sides, things)
    return {
        "modifier": float(
            _modifier_moved(sides) or _joined_otherwise(sides) or counted_otherwise(sides)
        ),
        "role_conflict": float(
            conflict
            or led_otherwise(sides, things, lex)
            or traded_place(sides)
            or _turned(sides, things)
            or _named_otherwise(sides, things)
            or traded_around(sides)
            or comes_otherwise(sides)
            or owned_otherwise(sides)
            or sent_otherwise(sides)
        ),
        "role_added": float(added),
        "role_unproved": float(_unproved(sides, things, lex) or deeds_moved(sides)),
    }


def _modifier_moved(sides: Sides) -> bool:
    """Tell "16-character password" from "16 passwords", "no X but Y" from "no Y but X"."""
    partner = sides.alignment.partner()
    reference, query = row_of(sides.reference.tokens), row_of(sides.query.tokens)
    left = {*sides.left_reference, *sides.left_query}
    for one, two in sides.alignment.pairs:
        if one.kind not in _MODIFIERS or one.kind is not two.kind:
            continue
        head_one, head_two = reference.after(one), query.after(two)
        if one.kind is Kind.NUMBER and (
            _counts_other(head_one, head_two, left) or _counts_and_names(sides, one, two)
        ):
            return True
        if one.kind is Kind.NEGATION and not _same_scope(head_one, head_two, partner, query, two):
            return True
        if _taken(head_one, two, partner, query) or _taken(head_two, one, partner, reference):
            return True
        if _crossed(head_one, head_two, partner, reference.near(one), query.near(two)):
            return True
    return False


_INSIDE = frozenset({"in", "of", "from", "inside", "within", "under", "on"})


def _joined_otherwise(sides: Sides) -> bool:
    """Tell "the letters and the folders" from "the letters in the folders"."""
    partner = sides.alignment.partner()
    mine, theirs = _joints(sides.reference.tokens), _joints(sides.query.tokens)
    for (one, two), joint in mine.items():
        pair = partner.get(one), partner.get(two)
        other = theirs.get(pair, joint) if None not in pair else joint  # type: ignore[arg-type]
        if other != joint:
            return True
    return False


@lru_cache(maxsize=MEMO)
def _joints(tokens: tuple[Token, ...]) -> dict[Pair, str]:
    """Neighbouring nouns with what joins them: "and", or a preposition of place."""
    found: dict[Pair, str] = {}
    last: Token | None = None
    joint = ""
    for token in tokens:
        if token.kind is Kind.STOP:
            joint = token.value if token.value in _INSIDE | {"and"} else joint
        elif token.kind is not Kind.QUANTIFIER:
            if last is not None and joint:
                found[last, token] = "and" if joint == "and" else "in"
            last, joint = token, ""
    return found


def count_changes(sides: Sides) -> int:
    """How many nouns are one on one side and several on the other ("the file", "the files").

    Only a noun that ends its phrase counts: in "line count" and "lines" it is the same.
    """
    ends = _phrase_ends(sides.reference.tokens) | _phrase_ends(sides.query.tokens)
    many = _quantified(sides.reference.tokens) | _quantified(sides.query.tokens)
    return sum(
        one.kind is two.kind is Kind.WORD
        and one in ends
        and two in ends
        and bool(_stem_key(one) & _stem_key(two))
        and (one in many or _plural(one)) != (two in many or _plural(two))
        and len(_mentions(one, two, sides)) == 1
        for one, two in sides.alignment.pairs
    )


@lru_cache(maxsize=16 * MEMO)
def _stem_key(token: Token) -> frozenset[str]:
    return frozenset(key for key in token.keys if key[0] == "s" and " " not in key)


def _mentions(one: Token, two: Token, sides: Sides) -> set[bool]:
    """In how many numbers a noun stands on a side; said in both, it cannot be told."""
    sided = ((one, sides.reference.tokens), (two, sides.query.tokens))
    numbers = [
        {_plural(t) for t in tokens if _stem_key(t) & _stem_key(token)} for token, tokens in sided
    ]
    return max(numbers, key=len)


@lru_cache(maxsize=MEMO)
def _phrase_ends(tokens: tuple[Token, ...]) -> set[Token]:
    inner = {token for token, after in pairwise(tokens) if after.kind in _ENDS_PHRASE}
    for token, order, date in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if order.kind is Kind.ORDER and date.kind is Kind.DATE:
            inner.add(token)
    return inner | set(tokens[-1:])


_ENDS_PHRASE = frozenset({Kind.STOP, Kind.DATE, Kind.DAY, Kind.TIME, Kind.NEGATION})


@lru_cache(maxsize=MEMO)
def _quantified(tokens: tuple[Token, ...]) -> set[Token]:
    """Nouns behind all, every or each: several, whatever their ending. "Every overdue loan" is
    several loans; "the entire file system" is one system.
    """
    found, open_end = set(), False
    for token in tokens:
        if token.kind is Kind.QUANTIFIER:
            open_end = token.value != "only" and token.word not in _WHOLE
        elif open_end and token.kind is not Kind.STOP:
            found.add(token)
            open_end = token.kind is Kind.WORD
        else:
            open_end = False
    return found


_WHOLE = frozenset({"entire", "whole"})


def _counts_other(one: Token | None, two: Token | None, left: set[Token]) -> bool:
    if any(t in left and t.kind in (Kind.WORD, Kind.UNIT) for t in (one, two) if t):
        return True
    units = [t.value for t in (one, two) if t and t.kind is Kind.UNIT]
    return len(units) == 2 and units[0] != units[1]


def _counts_and_names(sides: Sides, one: Token, two: Token) -> bool:
    """Tell "page 5" from "5 pages"."""
    for named, mine, counted, theirs in (
        (one, sides.reference.tokens, two, sides.query.tokens),
        (two, sides.query.tokens, one, sides.reference.tokens),
    ):
        before = next((a for a, b in pairwise(mine) if b is named), None)
        after = next((b for a, b in pairwise(theirs) if a is counted), None)
        if before is None or after is None or _plural(before) or not _plural(after):
            continue
        if _stem_key(before) & _stem_key(after):
            return True
    return False


def _same_scope(
    one: Token | None, two: Token | None, partner: dict[Token, Token], query: Row, negation: Token
) -> bool:
    """Whether what a negation denies is denied on the other side too."""
    if one is None or two is None:
        return one is two
    denied = partner.get(one)
    return denied is not None and (denied is two or denied in query.behind(negation))


def _crossed(
    one: Token | None,
    two: Token | None,
    partner: dict[Token, Token],
    near_one: Iterable[Token],
    near_two: Iterable[Token],
) -> bool:
    """Whether both modified things have partners, and neither is the other's or close to it."""
    if one is None or two is None or partner.get(one) is None or partner.get(two) is None:
        return False
    if one.kind in _MODIFIERS or two.kind in _MODIFIERS:
        return False
    return partner[one] not in near_two and partner[two] not in near_one


def _taken(head: Token | None, modifier: Token, partner: dict[Token, Token], row: Row) -> bool:
    """Whether on the other side another modifier of the kind stands before the thing."""
    other = partner.get(head) if head else None
    before = row.before(other) if other else None
    return before is not None and before is not modifier and before.kind is modifier.kind


def _directed(pair: Pair) -> bool:
    if pair[0].word in _KIND_NAMES:
        return False
    return any(token.kind in _THINGS or token.role for token in pair)


def _roles(sides: Sides, things: Sequence[Pair]) -> tuple[bool, bool]:
    """Whether roles conflict, and whether the query names a destination of its own."""
    conflict = any(one.role and two.role and one.role != two.role for one, two in things)
    added = False
    conflict = conflict or traded(things)
    for role in _WAYS:
        mine: set[object] = {i for i, (one, _) in enumerate(things) if one.role is role}
        theirs: set[object] = {i for i, (_, two) in enumerate(things) if two.role is role}
        mine |= _speaker(sides.reference.tokens, role)
        theirs |= _speaker(sides.query.tokens, role)
        if mine and theirs and not mine & theirs:
            conflict = True
        elif role is Role.DESTINATION and theirs - mine:
            added = True
    return conflict, added


_MAKING = frozenset(
    ("create", "convert", "translate", "merge", "plot", "summarize", "extract", "download", "save")
)
"""Deeds whose object is what comes out: "make b from a" turns a into b."""


_RECEIVING = frozenset({Kind.EMAIL, Kind.CHANNEL, Kind.SIZE})
"""What is never taken out of another thing."""


def _turned(sides: Sides, things: Sequence[Pair]) -> bool:
    """Tell "cut 40 seconds from x" from "cut x to 40 seconds": what is taken on one side is what
    something else becomes on the other.
    """
    for here, there, tokens in (
        (0, 1, sides.reference.tokens),
        (1, 0, sides.query.tokens),
    ):
        if any(t.action in _MAKING for t in tokens):
            continue
        taken_from = {p for p in things if p[here].role is Role.SOURCE and p[there].role is None}
        becomes = {
            p
            for p in things
            if p[here].role is None
            and p[there].role is Role.DESTINATION
            and p[here].kind not in _RECEIVING
        }
        if taken_from and becomes:
            return True
    return False


_NAMING = frozenset({"named", "called", "titled", "name", "names"})
_HOLDING = frozenset(
    {"containing", "contain", "contains", "string", "text", "word", "words", "phrase", "grep",
     "search", "searches", "saying", "matching", "message", "mention", "mentioning"}
)  # fmt: skip


def _named_otherwise(sides: Sides, things: Sequence[Pair]) -> bool:
    """Whether a value is a thing's name on one side and what it holds on the other."""
    mine, theirs = sides.reference.tokens, sides.query.tokens
    ways = [(_way(mine, one), _way(theirs, two)) for one, two in things if one.kind in _SAID]
    return any(one and two and one != two for one, two in ways)


_SAID = frozenset({Kind.QUOTE, Kind.IDENTIFIER, Kind.WORD, Kind.FILE, Kind.GLOB})


_SEARCH = frozenset({"search", "grep", "scan", "look", "searching"})


@lru_cache(maxsize=16 * MEMO)
def _way(tokens: tuple[Token, ...], value: Token) -> str:
    words = " ".join(t.word for t in tokens if t.start < value.start).split()
    if words[-1:] == ["for"] and _SEARCH & set(words[:-2]):
        return "held"  # "search the letters for x"; "search for x" may mean its name
    for word in reversed(words[-_LEAD_REACH - 1 :]):
        if word in _NAMING | _HOLDING:
            return "named" if word in _NAMING else "held"
    return ""


def _speaker(tokens: Iterable[Token], role: Role) -> set[object]:
    return {"me" for t in tokens if t.value in ("me", "us") and t.role is role}


def _unproved(sides: Sides, things: Sequence[Pair], lex: Lexicon) -> bool:
    """Two like things whose direction matters need it said on both sides, or the same order."""
    exchanges = any(
        t.kind is Kind.ACTION and t.value in lex.classes["directed"] for t in sides.reference.tokens
    )
    if _related_otherwise(sides):
        return True
    for first, second in combinations(things, 2):
        if first[0].kind is not second[0].kind:
            continue
        swapped = (first[0].start < second[0].start) != (first[1].start < second[1].start)
        roles = {token.role for token in (*first, *second)}
        like = first[0].kind in _SWAPPED or _deed_between(sides.reference.tokens, first, second)
        if swapped and like and roles == {None}:
            return True
        if not _needs_proof(first, second, exchanges=exchanges):
            continue
        said = any(one.role in _WAYS and one.role is two.role for one, two in (first, second))
        if not said and not _listed_alike(sides, first, second, swapped=swapped):
            return True
    return False


def _deed_between(tokens: Sequence[Token], first: Pair, second: Pair) -> bool:
    """Whether one name does something to the other: "Bob called Anna"."""
    names = all(t.kind is Kind.WORD and t.text[0].isupper() for t in (first[0], second[0]))
    low, high = sorted((first[0].start, second[0].start))
    between = [t for t in tokens if low < t.start < high]
    return names and bool(between) and all(t.value not in _LISTING for t in between)


_LISTING = frozenset({"and", "or", "with"})
_RATIOS = frozenset({"per", "within"})


def _related_otherwise(sides: Sides) -> bool:
    """Tell "sales per visitor" from "visitors per sale"."""
    partner = sides.alignment.partner()
    mine, theirs = _about(sides.reference.tokens), _about(sides.query.tokens)
    return any(
        partner.get(one) in theirs.values() or partner.get(two) in theirs
        for one, two in mine.items()
    )


def _about(tokens: Sequence[Token]) -> dict[Token, Token]:
    """What stands right before and right behind "per" or "within"."""
    said = [t for t in tokens if t.kind is not Kind.STOP or t.value in _RATIOS]
    return {
        said[at - 1]: said[at + 1] for at in range(1, len(said) - 1) if said[at].value in _RATIOS
    }


def _needs_proof(first: Pair, second: Pair, *, exchanges: bool) -> bool:
    (one, two), (three, four) = first, second
    goes = any(token.role is Role.DESTINATION for token in (*first, *second))
    differ = one.role is not three.role or two.role is not four.role
    return goes and differ and (one.kind is not Kind.WORD or exchanges)


def _listed_alike(sides: Sides, first: Pair, second: Pair, *, swapped: bool) -> bool:
    """Bare file names in the same order, not joined by "and"."""
    low, high = sorted((first[1].start, second[1].start))
    joined = any(t.value == "and" and low < t.start < high for t in sides.query.tokens)
    return not swapped and first[0].kind is Kind.FILE and not joined
