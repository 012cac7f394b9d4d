"""Read a goal: typed tokens with canonical values, in the order of the text, roles marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from llmos_workers.learning.matching.constructions import construed
from llmos_workers.learning.matching.lexicon import Lexicon, Phrase, lexicon
from llmos_workers.learning.matching.roles import mark_roles
from llmos_workers.learning.matching.tokens import ANCHORS, Kind, Token, plain_typography, scan
from llmos_workers.learning.matching.words import classify

_RE_ORDINAL = re.compile(r"(\d+)(st|nd|rd|th)", re.IGNORECASE)
_RE_GLUED = re.compile(r"(\d+)([a-z]+)", re.IGNORECASE)
_RE_TIME = re.compile(r"(\d+):?(\d\d)?\s?(?:([ap])\.?m)?", re.IGNORECASE)
_RE_RANKED = re.compile(r"(top|first|last|bottom)-(\d+)", re.IGNORECASE)
_RE_PART = re.compile(r"/[\w./-]+|[\w.-]+|>|<")
_RE_NEEDLESS = re.compile(
    r"(\bi (?:do not|don't|no longer) need )(\S+)( any ?more,?)", re.IGNORECASE
)

_RE_INSIDE = re.compile(r"[a-z0-9,)]\s+$")
Raw = tuple[str, str, int, int]

_APART_REACH = 6
_CLAUSE_ENDS = frozenset({"and", "then", "or", "but", "\0"}) - {"\0"}


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """A goal as read. Compared by identity, as its tokens are."""

    text: str
    tokens: tuple[Token, ...]
    respelled: str
    """The text with slips of the finger put right; this is what gets embedded."""
    strange: bool = False
    """Whether a plain word is no word, so that the other side may say what was meant."""
    said: tuple[Token, ...] = field(init=False, repr=False)
    """The tokens that carry meaning."""

    def __post_init__(self) -> None:
        said = tuple(token for token in self.tokens if token.kind is not Kind.STOP)
        object.__setattr__(self, "said", said)


@lru_cache(maxsize=8_192)
def parse(text: str, context: frozenset[str] = frozenset()) -> Goal:
    """Read a goal. ``context`` are words (lower case) of the other side: a word that is no
    word but a slip away from one of them is read as that one. Never raises.
    """
    lex = lexicon()
    plain = plain_typography(text)
    plain = _RE_NEEDLESS.sub(lambda m: " " * len(m[1]) + m[2] + " " * len(m[3]), plain)
    raw, owners = _expand(_spelled_out(plain, scan(plain), lex), lex)
    words = [piece[1] if piece[0] == "word" else "\0" for piece in raw]
    meant = [
        lex.speller.respell(word, context) if word != "\0" and not _is_name(plain, piece) else word
        for word, piece in zip(words, raw, strict=True)
    ]
    reader = _Reader(plain, raw, meant, lex)
    tokens = mark_roles(construed(reader.read(), lex), owners, lex)
    strange = any(not lex.speller.is_word(word) for word in words if len(word) > 2)
    return Goal(text, tuple(tokens), _respelled(plain, context, lex), strange)


def _is_name(text: str, piece: Raw) -> bool:
    """Whether a word is capitalized inside a sentence that is not all in capitals."""
    word = text[piece[2] : piece[3]]
    capital = word[:1].isupper() and word[1:].islower()
    return capital and bool(_RE_INSIDE.search(text[: piece[2]]))


def parse_beside(text: str, reference: Goal) -> Goal:
    """Read a goal with the reference's words as context, where that can make a difference."""
    goal = parse(text)
    return parse(text, words_of(reference)) if goal.strange else goal


def words_of(goal: Goal) -> frozenset[str]:
    """Open words of a goal that a slip on the other side may have meant."""
    open_kinds = (Kind.WORD, Kind.ACTION)
    return frozenset(
        token.word
        for token in goal.tokens
        if token.kind in open_kinds and token.text.isalpha() and len(token.text) > 3
    )


_RE_PLAIN_WORD = re.compile(r"(?<![\w./#@*-])[A-Za-z]{3,}(?![\w./@*-])")


def _respelled(text: str, context: frozenset[str], lex: Lexicon) -> str:
    def one(match: re.Match[str]) -> str:
        word = match[0].lower()
        meant = lex.speller.respell(word, context)
        return match[0] if meant == word else meant

    return _RE_PLAIN_WORD.sub(one, text)


_COMMAND_WORDS = 3


def _spelled_out(text: str, scanned: list[Raw], lex: Lexicon) -> list[Raw]:
    """A shell command at the start as the words that say what it does."""
    if not scanned or scanned[0][1].lower() not in lex.programs:
        return scanned
    for size in range(min(len(scanned), 2 * _COMMAND_WORDS), 0, -1):
        start, end = scanned[0][2], scanned[size - 1][3]
        words = lex.commands.get(" ".join(text[start:end].lower().split()))
        alone = size == 1 and (len(scanned) < 2 or scanned[1][0] not in ("file", "path", "glob"))
        if words and not alone:
            return [*(("word", word, start, end) for word in words), *scanned[size:]]
    return scanned


def _expand(scanned: Sequence[Raw], lex: Lexicon) -> tuple[list[Raw], set[int]]:
    """Split what was scanned as one; also the starts of words that own something ('s)."""
    raw: list[Raw] = []
    owners: set[int] = set()
    for group, text, start, end in scanned:
        low = text.lower()
        if group == "expression" and not re.search(r"[=^]|\d\s*[-+*/]\s*\d", text):
            raw += _pieces(text, start)
        elif group in ("word", "word_symbol") or (group == "file" and low in lex.not_files):
            if low.endswith("'s") and low not in lex.tables["date"] and low not in lex.spelling:
                low = low[:-2]
                owners.add(start)
            stop = min(end, start + len(low)) if text[-2:].lower() == "'s" else end
            long = lex.spelling.get(low, low)
            raw += [("word", word, start, stop) for word in long.split()]
        elif group == "identifier" and (ranked := _RE_RANKED.fullmatch(text)):
            raw.append(("word", ranked[1].lower(), start, start + len(ranked[1])))
            raw.append(("number", ranked[2], end - len(ranked[2]), end))
        elif group == "mixed":
            raw += _mixed(text, start, end, lex)
        else:
            raw.append((group, text, start, end))
    return raw, owners


def _pieces(text: str, start: int) -> list[Raw]:
    """What looked like a formula and is none, piece by piece."""
    found = []
    for match in _RE_PART.finditer(text):
        part = match[0]
        if part[0] == "/":
            group, part = "path", part.rstrip(".")
        elif "." in part and part[0].isalpha():
            group = "file"
        elif part[0].isdigit():
            group = "number" if part.replace(".", "").isdigit() else "identifier"
        else:
            group, part = "word", part.lower()
        low = start + match.start()
        found.append((group, part, low, low + len(part)))
    return found


def _mixed(text: str, start: int, end: int, lex: Lexicon) -> list[Raw]:
    """Read "30min" as a number and its unit, "3rd" as an ordinal, "5f3a" as a name."""
    glued = _RE_GLUED.fullmatch(text)
    if _RE_ORDINAL.fullmatch(text):
        return [("ordinal", text, start, end)]
    known = glued and (
        glued[2].lower() in lex.tables["unit"] or glued[2].lower() in lex.tables["synonym"]
    )
    if glued and known:
        middle = start + len(glued[1])
        word = lex.spelling.get(glued[2].lower(), glued[2].lower())
        return [("number", glued[1], start, middle), ("word", word, middle, end)]
    return [("identifier", text, start, end)]


class _Reader:
    """Turns raw pieces into tokens, left to right."""

    def __init__(self, text: str, raw: list[Raw], meant: list[str], lex: Lexicon) -> None:
        self._text, self._raw, self._meant, self._lex = text, raw, meant, lex
        self._out: list[Token] = []
        self._apart, self._tails = self._find_apart()

    def _find_apart(self) -> tuple[dict[int, str], set[int]]:
        """Verbs whose second part stands behind their object, and where those parts are."""
        verbs: dict[int, str] = {}
        tails: set[int] = set()
        for at, word in enumerate(self._meant):
            for tail, action in self._lex.apart.get(word, ()):
                end = self._tail_after(at, tail)
                if end:
                    verbs[at] = action
                    tails.update(range(end, end + len(tail)))
                    break
        return verbs, tails

    def _tail_after(self, verb: int, tail: Phrase) -> int:
        for at in range(verb + 2, min(verb + 2 + _APART_REACH, len(self._meant))):
            if self._meant[at] in _CLAUSE_ENDS:
                return 0
            if tuple(self._meant[at : at + len(tail)]) == tail:
                after = at + len(tail)
                ends = after >= len(self._meant) or self._meant[after] in self._lex.words["stop"]
                return at if ends or len(tail) > 1 else 0
        return 0

    def read(self) -> list[Token]:
        at = 0
        while at < len(self._raw):
            at += self._polite(at) or self._one(at)
        return self._out

    def _polite(self, at: int) -> int:
        return len(self._phrase_at(at, self._lex.polite.get(self._meant[at], ())))

    def _phrase_at(self, at: int, phrases: Sequence[Phrase]) -> Phrase:
        for phrase in phrases:
            if tuple(self._meant[at : at + len(phrase)]) == phrase:
                return phrase
        return ()

    def _one(self, at: int) -> int:
        """Read what starts at ``at``; returns how many raw pieces it took."""
        group, _, start, end = self._raw[at]
        if at in self._apart:
            action = self._apart[at]
            self._add(Kind.ACTION, action, start, end, {f"a:{action}"})
            return 1
        if at in self._tails:
            self._add(Kind.STOP, self._meant[at], start, end)
            return 1
        if group == "word":
            return (
                self._half_hour(at) or self._number_words(at) or self._phrase(at) or self._word(at)
            )
        self._typed(at)
        return 1

    def _phrase(self, at: int) -> int:
        phrase = self._phrase_at(at, self._lex.phrases.get(self._meant[at], ()))
        if phrase:
            self._classify(" ".join(phrase), self._raw[at][2], self._raw[at + len(phrase) - 1][3])
        return len(phrase)

    def _half_hour(self, at: int) -> int:
        """Read "half an hour" as 30 minutes."""
        for phrase in (("half", "an", "hour"), ("half", "hour")):
            if tuple(self._meant[at : at + len(phrase)]) == phrase:
                last = at + len(phrase) - 1
                self._add(Kind.NUMBER, "30", self._raw[at][2], self._raw[last - 1][3])
                self._add(Kind.UNIT, "minute", self._raw[last][2], self._raw[last][3])
                return len(phrase)
        return 0

    def _number_words(self, at: int) -> int:
        """Read "two hundred" as one number; a lone "one" is none."""
        value, end = None, at
        while end < len(self._raw):
            word = self._meant[end]
            if word in self._lex.numbers:
                value = (value or 0) + self._lex.numbers[word]
            elif word in self._lex.multipliers and (value is not None or word == "hundred"):
                value = (value or 1) * self._lex.multipliers[word]
            else:
                break
            end += 1
        if value is None or (self._meant[at] == "one" and end == at + 1):
            return 0
        self._add(Kind.NUMBER, str(value), self._raw[at][2], self._raw[end - 1][3])
        return end - at

    def _word(self, at: int) -> int:
        word, (_, _, start, end) = self._meant[at], self._raw[at]
        lex, following = self._lex, self._meant[at + 1 : at + 2]
        before_number = self._group(at + 1) == "number" or (
            following[:1] and (following[0] in lex.numbers)
        )
        if before_number and word in lex.tables["comparison_before_number"]:
            value = lex.tables["comparison_before_number"][word]
            self._add(Kind.COMPARISON, value, start, end)
        elif word == "build" and following == ["the"]:
            self._add(Kind.ACTION, "compile", start, end, {"a:compile"})
        elif word in ("older", "newer"):
            self._add(Kind.WORD, word[:3], start, end, {f"s:{word[:3]}"})
            self._add(Kind.COMPARISON, "more", start, end)
        elif not self._out and word in lex.words["ask_show"]:
            self._add(Kind.ACTION, "show", start, end, {"a:show"})
        elif not self._out and word in lex.words["ask_check"]:
            self._add(Kind.ACTION, "check", start, end, {"a:check"})
        else:
            self._classify(word, start, end)
        return 1

    def _classify(self, word: str, start: int, end: int) -> None:
        text = self._text[start:end]
        named = _is_name(self._text, ("", text, start, end)) or self._is_abbreviation(text, word)
        kind, value, keys = classify(word, text, self._out, self._lex, named=named)
        self._add(kind, value, start, end, keys)

    def _is_abbreviation(self, text: str, word: str) -> bool:
        """Whether a verb in capitals is a name: "POST requests"."""
        shouted = text.isupper() and not self._text.isupper() and bool(self._out)
        return shouted and word in self._lex.tables["action"]

    def _typed(self, at: int) -> None:
        group, text, start, end = self._raw[at]
        if group == "number":
            self._number(text, start, end)
        elif group == "ordinal":
            digits = text[:-2]
            near_month = self._near_month(at)
            self._add(Kind.NUMBER, digits if near_month else text.lower(), start, end)
        elif group == "quote":
            self._add(Kind.QUOTE, " ".join(text[1:-1].split()), start + 1, end - 1)
        elif group == "arrow":
            self._add(Kind.STOP, "->", start, end)
        elif text == "+" and self._out and self._out[-1].kind in ANCHORS:
            self._add(Kind.STOP, "and", start, end)
        elif group == "symbol":
            self._add(Kind.WORD, text, start, end, {f"s:{text}"})
        else:
            kind = Kind.IDENTIFIER if group == "version" else Kind(group)
            self._add(kind, canonical(kind, text), start, end)

    def _number(self, text: str, start: int, end: int) -> None:
        units = self._lex.tables["unit"]
        if text[0] in "$€£":
            self._add(Kind.UNIT, units[text[0]], start, start + 1)
            text, start = text[1:], start + 1
        sign = text.endswith("%")
        digits = text.rstrip("%").rstrip(",")
        end = start + len(digits)
        self._add(Kind.NUMBER, canonical(Kind.NUMBER, digits), start, end)
        if sign:
            self._add(Kind.UNIT, "percent", end, end + 1)

    def _near_month(self, at: int) -> bool:
        dates = self._lex.tables["date"]
        before = any(token.kind is Kind.DATE for token in self._out[-2:])
        return before or any(word in dates for word in self._meant[at + 1 : at + 3])

    def _group(self, at: int) -> str:
        return self._raw[at][0] if at < len(self._raw) else ""

    def _add(
        self,
        kind: Kind,
        value: str,
        start: int,
        end: int,
        keys: set[str] | frozenset[str] = frozenset(),
    ) -> None:
        text = self._text[start:end]
        self._out.append(Token(text, kind, value, start, end, frozenset(keys)))


def canonical(kind: Kind, text: str) -> str:
    """One spelling for what means the same value."""
    if kind is Kind.NUMBER:
        digits = text.replace(",", "")
        return str(int(digits)) if digits.lstrip("-").isdecimal() else digits
    if kind is Kind.SIZE:
        return "x".join(re.findall(r"\d+", text))
    if kind is Kind.EXPRESSION:
        return re.sub(r"\s+", "", text.lower())
    if kind is Kind.TIME and (match := _RE_TIME.match(text)):
        hour, minute, half = int(match[1]), match[2] or "00", (match[3] or "").lower()
        return f"{hour % 12 + 12 * (half == 'p') if half else hour}:{minute}"
    if kind in (Kind.EMAIL, Kind.CHANNEL):
        return text.lower()
    return text
