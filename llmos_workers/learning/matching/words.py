"""What a single word of a goal is, given what stands before it."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_workers.learning.matching.lexicon import Lexicon
from llmos_workers.learning.matching.tokens import Kind, Token
from llmos_workers.learning.matching.typos import stem

Reading = tuple[Kind, str, frozenset[str]]
"""Kind, canonical value, keys."""

_PLAIN_TABLES = (
    ("quantifier", Kind.QUANTIFIER),
    ("order", Kind.ORDER),
    ("comparison", Kind.COMPARISON),
    ("format", Kind.FORMAT),
    ("speech", Kind.SPEECH),
    ("negation", Kind.NEGATION),
)
_DEFINITE = frozenset({"the", "all", "every", "each", "these", "those", "only"})
_GOVERNED = 3
"""A verb's object begins at most so many tokens behind it."""
_NOUN_LEAD = frozenset({Kind.WORD, Kind.NUMBER, Kind.FORMAT, Kind.LANGUAGE, Kind.DATE, Kind.ORDER})


def classify(
    word: str, text: str, before: Sequence[Token], lex: Lexicon, *, named: bool = False
) -> Reading:
    """Read ``word`` (lower case, respelled) that stands in the goal as ``text``. A ``named`` one
    is capitalized inside a sentence: whatever else it may mean, it is no verb.
    """
    closed = _closed(word, text, before, lex)
    if closed is None and named and word not in lex.words["stop"]:
        return _name(word)
    return closed or _open(word, text, before, lex)


def _name(word: str) -> Reading:
    return Kind.WORD, stem(word), frozenset({f"s:{stem(word)}"})


def _closed(word: str, text: str, before: Sequence[Token], lex: Lexicon) -> Reading | None:
    tables = lex.tables
    found = next(
        ((kind, tables[name][word]) for name, kind in _PLAIN_TABLES if word in tables[name]), None
    )
    if found is None:
        if word in lex.words["negation"] and (word != "but" or _excepts(before)):
            found = Kind.NEGATION, "not"
        elif word in lex.words["direction"]:
            found = Kind.DIRECTION, word
        elif text in lex.codes:
            found = Kind.SPEECH, lex.codes[text]
        elif _is_unit(word, before, lex):
            found = Kind.UNIT, tables["unit"][word]
        elif _is_date(word, text, before, lex):
            found = Kind.DATE, tables["date"][word]
        elif word in tables["language"] and word not in tables["action"]:
            found = Kind.LANGUAGE, tables["language"][word]
    return (*found, frozenset()) if found else None


def _open(word: str, text: str, before: Sequence[Token], lex: Lexicon) -> Reading:
    first = not before
    action = _action(word, lex)
    synonym = lex.tables["synonym"].get(word)
    keys = {f"s:{stem(word)}"}
    if action:
        keys.add(f"a:{action}")
    if synonym:
        keys.add(f"c:{synonym}")
    verbal = first or not (
        word.endswith("ing") or word == "new" or _is_noun_place(word, before, lex)
    )
    made = not first and word.endswith("ed") and action in lex.classes["light"]
    if made:  # "permits issued in May": no order, but not nothing either
        return Kind.WORD, synonym or stem(word), frozenset(keys)
    if action and verbal and (synonym is None or first):
        return Kind.ACTION, action, frozenset(keys)
    if word == "new" and _chooses(before, lex):
        return Kind.WORD, "new", frozenset({"s:new"})
    if _is_stop(word, text, first=first, lex=lex):
        return Kind.STOP, word, frozenset(keys)
    if first and synonym is None and text.isalpha() and not _leads(word, lex):
        # An unknown word at the start is most likely the imperative itself.
        return Kind.ACTION, f"x_{stem(word)}", frozenset(keys)
    return Kind.WORD, synonym or stem(word), frozenset(keys)


def _leads(word: str, lex: Lexicon) -> bool:
    """Whether a word opens a phrase: "between 6 and 7 show the trains"."""
    return word in lex.words["leading"] or word in lex.words["preposition"]


def _action(word: str, lex: Lexicon) -> str | None:
    found = lex.tables["action"].get(word)
    if found is None and word.endswith(("ed", "ing", "s")):
        other = word in lex.tables["synonym"] or word in lex.words["stop"]
        found = None if other else lex.action_by_stem.get(stem(word))
    return found


def _is_stop(word: str, text: str, *, first: bool, lex: Lexicon) -> bool:
    if word not in lex.words["stop"]:
        return False
    if first and word in lex.words["stop_unless_first"]:
        return False
    return not (word == "new" and text[0].isupper() and not first)


def _chooses(before: Sequence[Token], lex: Lexicon) -> bool:
    """Whether "new" here tells things apart: "list the new orders", "how many new orders", not
    "create a new order", "save it in a new file".
    """
    last = before[-1] if before else None
    if last is None or last.value in _DEFINITE:
        return last is not None
    if last.value in ("a", "an"):
        return False
    for token in reversed(before[-_GOVERNED:]):
        if token.kind is Kind.ACTION or token.value in lex.words["weak"]:
            return token.value not in lex.classes["making"]
        if token.kind is not Kind.STOP or token.value not in lex.words["determiner"]:
            break
    return True


def _excepts(before: Sequence[Token]) -> bool:
    """Whether "but" leaves something out ("all but two", "every invitation for May but Ann's",
    "nothing but") or joins two clauses: a quantifier stands before it in its own clause.
    """
    for token in reversed(before):
        if token.kind in (Kind.QUANTIFIER, Kind.NEGATION) or token.value in _ANY:
            return True
        if token.kind is Kind.ACTION or token.value in _JOINING:
            return False
    return False


_ANY = frozenset({"any", "anything", "anyone", "anybody"})
_JOINING = frozenset({"and", "then", "or"})


def _is_unit(word: str, before: Sequence[Token], lex: Lexicon) -> bool:
    value = lex.tables["unit"].get(word)
    if value is None:
        return False
    return value in lex.classes["always_unit"] or bool(before and before[-1].kind is Kind.NUMBER)


def _is_date(word: str, text: str, before: Sequence[Token], lex: Lexicon) -> bool:
    if word not in lex.tables["date"]:
        return False
    if word not in lex.words["date_homonym"] or not text.islower():
        return True
    last = before[-1] if before else None
    return last is not None and (last.kind is Kind.NUMBER or last.word in lex.words["date_lead"])


def _is_noun_place(word: str, before: Sequence[Token], lex: Lexicon) -> bool:
    """Whether a word stands where a noun does: after an article, a number or another noun."""
    if not before or word.endswith("ed"):
        return False
    last = before[-1]
    after_article = last.kind is Kind.STOP and last.value in lex.words["determiner"]
    return last.kind in _NOUN_LEAD or after_article
