"""What several words say together: "make x.sh executable" sets, "the most revenue" is a top.

English says one deed with a light verb and a frame around its object. Each rule here reads one
such frame, on tokens before their roles are marked, and leaves everything else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import Kind, Role, Token
from llmos_workers.learning.matching.typos import stem

Tokens = list[Token]

_FILES = frozenset({Kind.FILE, Kind.PATH})
_THINGS = _FILES | {Kind.URL, Kind.QUOTE, Kind.GLOB}
_PRONOUNS = frozenset({"it", "them", "this", "that"})
_PUTTING = frozenset({"save", "store", "put", "write", "place", "keep"})
_INTO = frozenset({"to", "in", "into", "under", "as", "at"})
_PLACING = frozenset({"to", "in", "into", "on", "onto", "from", "->"})
_OWNERS = frozenset({"your", "their", "his", "her", "my", "our", "its"})
_JOINING = frozenset({"and", "then"})
_ARTICLES = frozenset({"the", "a", "an", "my", "our"})
_ASKING = frozenset({"what", "what's", "how", "put"})
_HAVING = frozenset(
    ("have", "has", "bring", "brings", "generate", "generates", "make", "makes", "earn", "earns",
     "yield", "yields", "produce", "produces", "contribute", "contributes")
)  # fmt: skip
_RELATIVE = frozenset({"that", "which", "who"})
_GIVING_REACH = 6
_PARTS = frozenset({"name", "title"})
_RANKS = frozenset({"top", "bottom"})


def construed(tokens: Sequence[Token], lex: Lexicon) -> Tokens:
    """The tokens with each frame read as what it says."""
    found = list(tokens)
    words = set(map(_first, tokens))
    for starts, rule in _RULES:
        if not words.isdisjoint(starts):
            found = rule(found, lex)
    return [_thing(found, at) for at in range(len(found))]


def _thing(tokens: Tokens, at: int) -> Token:
    """A word of showing that names a thing: "rename report A", "her list", "put it on display"."""
    token, before = tokens[at], tokens[at - 1] if at else None
    if before is None or token.kind is not Kind.ACTION or token.value != "show":
        return token
    ends = at == len(tokens) - 1 and before.value in _PLACING
    if not (ends or before.kind is Kind.ACTION or before.value in _OWNERS):
        return token
    keys = frozenset(key for key in token.keys if not key.startswith("a:"))
    return replace(token, kind=Kind.WORD, value=stem(token.word), keys=keys) if keys else token


def _saved_there(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "fetch x and save it to y" as "fetch x to y": the pronoun brings in no second thing."""
    for at, token in enumerate(tokens):
        end = _ends_putting(tokens, at)
        if not end or not any(t.kind is Kind.ACTION or t.word in _PUTTING for t in tokens[:at]):
            continue
        behind = next((t for t in tokens[end:] if t.value not in _ARTICLES), None)
        if behind is None or behind.kind not in _FILES:
            continue
        start = at
        while start and tokens[start - 1].value in _JOINING:
            start -= 1
        word = tokens[end - 1].word.split()[-1]
        there = replace(
            token,
            kind=Kind.STOP,
            value="as" if word == "as" else "to",
            text=word,
            keys=frozenset(),
            start=tokens[end - 1].end - len(word),
            end=tokens[end - 1].end,
        )
        return [*tokens[:start], there, *tokens[end:]]
    return tokens


def _ends_putting(tokens: Tokens, at: int) -> int:
    """Where "save it to" that starts at ``at`` ends; 0 if it is none."""
    if _first(tokens[at]) not in _PUTTING:
        return 0
    for end in range(at + 1, min(at + 4, len(tokens) + 1)):
        words = " ".join(t.word for t in tokens[at:end]).split()
        if len(words) == 3 and words[1] in _PRONOUNS and words[2] in _INTO:
            return end
    return 0


def _causes(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "make x.png 800x600" and "make the service have 5 workers" as setting."""
    for at, token in enumerate(tokens):
        if token.word != "make":
            continue
        rest = [t for t in tokens[at + 1 :] if t.value not in _ARTICLES]
        shaped = len(rest) > 1 and rest[0].kind in _FILES and rest[1].kind in (Kind.WORD, Kind.SIZE)
        has = any(a.word == "have" and b.kind is Kind.NUMBER for a, b in pairwise(rest))
        if shaped or has:
            tokens[at] = _deed(token, "set")
    return tokens


def _gives_money(tokens: Tokens, lex: Lexicon) -> Tokens:
    """Read "give Ann 10 dollars" as sending them."""
    for at, token in enumerate(tokens):
        behind = tokens[at + 1 : at + 1 + _GIVING_REACH]
        paid = any(t.kind is Kind.UNIT and t.value in lex.classes["currency"] for t in behind)
        if token.word == "give" and paid and any(t.kind is Kind.NUMBER for t in behind):
            tokens[at] = _deed(token, "send")
    return tokens


def _asks_for_translation(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read 'what is "good morning" in Spanish' as translating it."""
    if not tokens or _first(tokens[0]) not in _ASKING:
        return tokens
    for at, (one, two) in enumerate(pairwise(tokens)):
        into = one.value in ("in", "into") and two.kind is Kind.SPEECH
        if into and at and tokens[at - 1].kind is Kind.QUOTE:
            rest = [t for t in tokens[1:at] if t.kind not in (Kind.STOP, Kind.ACTION)]
            if len(rest) == 1:
                return [_deed(tokens[0], "translate"), *rest, *tokens[at:]]
    return tokens


def _puts_up(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read 'put "we are live" on the board' as posting it."""
    for at, token in enumerate(tokens[:-2]):
        quoted = tokens[at + 1].kind is Kind.QUOTE and tokens[at + 2].value == "on"
        if token.word == "put" and quoted:
            tokens[at] = _deed(token, "post")
    return tokens


def _saves_as_format(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "save x.jpg as PNG" and "make a PNG out of x.jpg" as converting."""
    for at, token in enumerate(tokens):
        behind = [t for t in tokens[at + 1 : at + 6] if t.value not in _ARTICLES]
        words = [t.word for t in behind]
        kinds = [t.kind for t in behind]
        if token.word in ("save", "export") and kinds[:1] and kinds[0] in _FILES:
            if words[1:2] == ["as"] and kinds[2:3] == [Kind.FORMAT]:
                tokens[at] = _deed(token, "convert")
        elif token.word == "make" and kinds[:1] == [Kind.FORMAT] and words[1:3] == ["out", "of"]:
            tokens[at] = _deed(token, "convert")
            made = tokens.index(behind[0])
            tokens[made] = replace(behind[0], role=Role.DESTINATION)
    return tokens


def _superlative(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "the most revenue" as a top; "customers that bring in" it have it."""
    for at, token in enumerate(tokens):
        before = tokens[at - 1].value if at else ""
        if token.word != "most" or token.kind is not Kind.QUANTIFIER or before != "the":
            continue
        tokens[at] = replace(token, kind=Kind.ORDER, value="top")
        for near in range(max(1, at - 4), at):
            led = tokens[near - 1].word in _RELATIVE
            if led and _first(tokens[near]) in _HAVING:
                tokens[near] = _silent(tokens[near])
    return tokens


def _ranked(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "rank them by size and give me the first 10" as the top 10 by size."""
    rank = next((t for t in tokens if t.kind is Kind.ACTION and t.value == "rank"), None)
    orders = [t for t in tokens if t.kind is Kind.ORDER]
    if rank is None or len(orders) != 1:
        return tokens
    order = orders[0]
    if order.value == "first" and order.start > rank.start:
        tokens[tokens.index(order)] = order = replace(order, value="top")
    if order.value in _RANKS:
        tokens[tokens.index(rank)] = _silent(rank)
    return tokens


def _of_length(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "of length 16" as "of 16 characters", unless a unit follows."""
    for at, token in enumerate(tokens[:-1]):
        unit = at + 2 < len(tokens) and tokens[at + 2].kind in (Kind.UNIT, Kind.WORD)
        if token.word == "length" and tokens[at + 1].kind is Kind.NUMBER and not unit:
            keys = frozenset({"s:length", "c:character"})
            tokens[at] = replace(token, value="character", keys=keys)
    return tokens


def _orders(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "order the books" as buying them, unless it says in which order."""
    for at, token in enumerate(tokens):
        ranked = any(
            t.value in ("by", "in", "from") or t.kind is Kind.ORDER or t.word in _RANKED
            for t in tokens[at:]
        )
        if token.word == "order" and token.kind is Kind.ACTION and not ranked:
            tokens[at] = _deed(token, "buy")
    return tokens


_RANKED = frozenset({"alphabetical", "alphabetically", "numerically", "chronologically"})


def _part_of(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "the title of the book" as a thing of its own: not the book."""
    for at, (before, token) in enumerate(pairwise(tokens), 1):
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        led = before.value in _ARTICLES | {"by", "and"} or before.kind is Kind.WORD
        ends = after is None or (after.kind is Kind.STOP and after.word not in _ARTICLES)
        if led and ends and token.kind is Kind.STOP and token.word in _PARTS:
            keys = frozenset({f"s:{stem(token.word)}"})
            tokens[at] = replace(token, kind=Kind.WORD, value=stem(token.word), keys=keys)
    return tokens


def _compares(tokens: Tokens, _: Lexicon) -> Tokens:
    """Read "songs like this one" as similar to it; "what is it like in Rome" says nothing more."""
    for at in range(1, len(tokens) - 1):
        token, before, after = tokens[at], tokens[at - 1], tokens[at + 1]
        if token.word != "like" or token.kind is not Kind.STOP or before.kind is Kind.STOP:
            continue
        if after.kind is not Kind.STOP or after.value in _ARTICLES | _POINTING:
            keys = frozenset({"s:like", "s:similar"})
            tokens[at] = replace(token, kind=Kind.WORD, value="similar", keys=keys)
    return tokens


_POINTING = frozenset({"this", "that", "these", "those"})


def _first(token: Token) -> str:
    """Its first word."""
    return token.word.partition(" ")[0]


def _deed(token: Token, action: str) -> Token:
    return replace(token, kind=Kind.ACTION, value=action, keys=frozenset({f"a:{action}"}))


def _silent(token: Token) -> Token:
    return replace(token, kind=Kind.STOP, value=token.word, keys=frozenset())


_RULES: tuple[tuple[frozenset[str], Callable[[Tokens, Lexicon], Tokens]], ...] = (
    (_PUTTING, _saved_there),
    (frozenset({"make"}), _causes),
    (frozenset({"give"}), _gives_money),
    (_ASKING, _asks_for_translation),
    (frozenset({"put"}), _puts_up),
    (frozenset({"save", "export", "make"}), _saves_as_format),
    (frozenset({"most"}), _superlative),
    (frozenset({"rank", "ranked", "ranking"}), _ranked),
    (frozenset({"length"}), _of_length),
    (_PARTS, _part_of),
    (frozenset({"order"}), _orders),
    (frozenset({"like"}), _compares),
)
"""Each with the words that one of the frame's tokens starts with."""
