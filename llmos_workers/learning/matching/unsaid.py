"""What one goal says and the other does not, without saying more: second mentions, words that
are implied by what both say, the kind of a thing beside the thing, "all" before a plural.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from llmos_workers.learning.matching.align import Alignment
from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.parse import Goal
from llmos_workers.learning.matching.tokens import ANCHORS, CLOSED, MEMO, Kind, Token

_COUNTED_EACH = frozenset({Kind.NEGATION, Kind.NUMBER, Kind.QUANTIFIER})
"""Saying these twice is not saying them once."""
_OPEN = frozenset({Kind.WORD, Kind.ACTION})
_KIND_NOUNS = {
    Kind.FILE: "file document script sheet spreadsheet table image picture photo doc called named",
    Kind.PATH: "folder directory file path dir subfolder tree",
    Kind.URL: "page website site webpage url link address file web at",
    Kind.EMAIL: "address email e-mail mail",
    Kind.CHANNEL: "channel",
    Kind.SIZE: "pixels pixel px resolution dimensions size",
    Kind.TIME: "time clock",
    Kind.SPEECH: "language",
    Kind.LANGUAGE: "language programming code",
    Kind.FORMAT: "format file files",
    Kind.QUOTE: "phrase text string words word sentence quote",
    Kind.GLOB: "files file pattern",
    Kind.DAY: "date day",
}
_KINDS = {kind: frozenset(text.split()) for kind, text in _KIND_NOUNS.items()}
_NAMES = frozenset({Kind.WORD, Kind.IDENTIFIER})
_PREPOSITIONS = frozenset({"in", "on", "of", "from", "to", "into", "over", "within", "inside"})
_PLACES = frozenset({"table", "folder", "directory", "branch", "column"})
_NAMED_KINDS = _PLACES | frozenset(
    {
        "team",
        "channel",
        "project",
        "repo",
        "repository",
        "service",
        "server",
        "board",
        "app",
        "city",
    }
)
"""What may stand behind a name and say only what kind of thing it names."""
_ALL = frozenset({"all", "each"})
_ALONE = frozenset({"everything"})
"""A thing of its own: nothing is counted by it."""
_WHOLE = frozenset({"entire", "whole"})
_QUANTIFIER_REACH = 6
_BEFORE_COUNTED = frozenset(
    {"the", "of", "my", "our", "your", "his", "her", "their", "its", "these", "those"}
)
"""May stand between "all" and what there is all of."""


def unsaid(
    left: Iterable[Token], mine: Goal, other: Goal, alignment: Alignment, lex: Lexicon
) -> tuple[Token, ...]:
    """The tokens of ``left`` (unpaired, of goal ``mine``) that say more than ``other`` does."""
    paired = {token for pair in alignment.pairs for token in pair}
    said = _said(other.said)
    listed = _listed(mine.tokens)
    shared = _shared(alignment)
    implied = {word for name in shared for word in lex.implied.get(name, ())}
    if _names_another(other, paired, alignment, lex):
        implied = set()
    kinds = _beside_their_thing(mine, paired)
    return tuple(
        token
        for token in left
        if not (
            said.says(token, listed=token in listed)
            or (token.kind in _OPEN and {token.word, token.value} & implied)
            or token in kinds
            or _says_all(token, mine, other, alignment)
        )
    )


def _names_another(other: Goal, paired: set[Token], alignment: Alignment, lex: Lexicon) -> bool:
    """Whether the other side has a noun of its own: then none goes without saying ("rename every
    file", "every folder").
    """
    names = lex.words["filler"] - lex.words["dull"]
    left = {*alignment.left_reference, *alignment.left_query}.intersection(other.tokens)
    own = {t for t in left if t.kind is Kind.WORD and t.word in names}
    return bool(own - _beside_their_thing(other, paired))


class _Said:
    """What a goal says, in any form."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._values = {(t.kind, t.value) for t in tokens if t.kind in ANCHORS | CLOSED}
        self._classes = {k for t in tokens if t.kind is Kind.WORD for k in t.keys if k[0] == "c"}
        self._stems: dict[str, set[Kind]] = {}
        for token in tokens:
            for key in token.keys:
                if key.startswith("s:"):
                    self._stems.setdefault(key, set()).add(token.kind)

    def says(self, token: Token, *, listed: bool) -> bool:
        """Whether a token only says again what is said. What is ``listed`` beside another
        thing is a thing of its own, though the goal mentions one of its kind elsewhere.
        """
        if token.kind in _COUNTED_EACH:
            return False
        if (token.kind, token.value) in self._values:
            return True
        if token.kind is Kind.WORD and not listed and token.keys & self._classes:
            return True
        return any(self._stems.get(k, set()) - {token.kind} for k in token.keys if k[0] == "s")


_said = lru_cache(maxsize=MEMO)(_Said)
_SPEAKING = _OPEN | {Kind.UNIT, Kind.ORDER}


@lru_cache(maxsize=MEMO)
def _listed(tokens: tuple[Token, ...]) -> set[Token]:
    """What stands right behind or before "and" or "or"."""
    joins = {"and", "or", "&", "/", "plus"}
    found = set()
    for before, after in pairwise(tokens):
        if before.value in joins:
            found.add(after)
        if after.value in joins:
            found.add(before)
    return found


def _shared(alignment: Alignment) -> set[str]:
    """Words and actions that both goals have."""
    return {
        name
        for one, two in alignment.pairs
        if one.kind in _SPEAKING
        for name in ({one.word, one.value} | {one.action or ""}) | {two.word, two.action or ""}
    }


def _beside_their_thing(goal: Goal, paired: set[Token]) -> set[Token]:
    """Nouns that name the kind of a paired value right beside them: "the file a.txt". Another
    one's is another thing: "Ann's team" is not Ann.
    """
    tokens = goal.tokens
    found = set()
    for one, two in pairwise(tokens):
        for noun, thing in ((one, two), (two, one)):
            if thing in paired and noun.kind in _OPEN and noun.word in _KINDS.get(thing.kind, ()):
                found.add(noun)
    for at, (name, noun) in enumerate(pairwise(tokens)):
        owned = goal.text[name.end : noun.start].strip()
        if name in paired and not owned and name.kind in _NAMES and noun.kind in _OPEN:
            proper = name.kind is Kind.IDENTIFIER or name.text[0].isupper()
            leads = [t.value for t in tokens[max(0, at - 2) : at] if t.kind is Kind.STOP]
            placed = noun.word in _PLACES and not _PREPOSITIONS.isdisjoint(leads)
            if placed or (proper and noun.word in _NAMED_KINDS):
                found.add(noun)
    return found


def _says_all(token: Token, mine: Goal, other: Goal, alignment: Alignment) -> bool:
    """Whether "all" stands before a plural that the other side has too, or "each" where the
    other side says "all".
    """
    if token.value not in _ALL or token.kind is not Kind.QUANTIFIER or token.word in _ALONE:
        return False
    after = next((t for t in mine.tokens if t.start > token.start), None)
    if after is not None and after.kind is Kind.DATE:  # "every Wednesday" is not Wednesday
        return False
    left = (*alignment.left_reference, *alignment.left_query)
    if any(t.kind is Kind.QUANTIFIER and t.value not in _ALL for t in left):
        return False
    each = token.value == "each" and not _each_is_all(other, alignment)
    if each or any(t.value == "any" for t in other.tokens):
        return False
    partner = alignment.partner()
    counted = _counted(token, mine.tokens)
    if token.word in _WHOLE and counted and counted[-1] in partner:
        return True
    return any(t in partner and plural(partner[t]) for t in counted)


def _counted(quantifier: Token, tokens: tuple[Token, ...]) -> list[Token]:
    """The nouns of the phrase behind a quantifier: "all the new lamps"."""
    behind = [t for t in tokens if t.start > quantifier.start][:_QUANTIFIER_REACH]
    found: list[Token] = []
    for token in behind:
        if token.kind is Kind.WORD:
            found.append(token)
        elif found or (token.kind is Kind.STOP and token.value not in _BEFORE_COUNTED):
            break
    return found


_ONE_BY_ONE = frozenset(
    {"delete", "rename", "move", "copy", "resize", "convert", "rotate", "crop", "restart", "stop",
     "start", "encrypt", "decrypt", "install", "upgrade", "fix", "check", "close", "add", "set"}
)  # fmt: skip
"""Deeds that come to the same done to each or to all: who zips each makes several files."""


def _each_is_all(other: Goal, alignment: Alignment) -> bool:
    deeds = {one.action for one, _ in alignment.pairs if one.kind is Kind.ACTION}
    alone = bool(deeds) and deeds <= _ONE_BY_ONE
    return alone and any(t.value in _ALL for t in other.said)


def plural(token: Token) -> bool:
    """Whether a noun stands for several things."""
    return token.word.endswith("s") and not token.word.endswith("ss")
