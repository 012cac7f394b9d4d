"""Stems and misspellings: cheap, and only where a word is not a word as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

_SUFFIXES = (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""))


@lru_cache(maxsize=32_768)
def stem(word: str) -> str:
    """A word without its English ending; only good for comparing words with each other."""
    for suffix, instead in (*_SUFFIXES, ("s", "")):
        long_enough = len(word) - len(suffix) >= 3
        if long_enough and word.endswith(suffix) and not word.endswith("ss"):
            word = word.removesuffix(suffix) + instead
            break
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls"
    return word[:-1] if len(word) > 3 and (word.endswith("e") or doubled) else word


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn a into b."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                best = min(best, older[j - 2] + 1)
            row.append(best)
    return row[-1]


def is_slip(word: str, meant: str) -> bool:
    """Whether ``word`` may be a slip of the finger for ``meant``: same start, few edits."""
    if not word or not meant or word[0] != meant[0] or abs(len(word) - len(meant)) > 2:
        return False
    return edit_distance(word, meant) <= (1 if len(meant) < 6 else 2)


class Speller:
    """Finds the known word that an unknown one was meant to be."""

    def __init__(
        self, fixable: Iterable[str], known: frozenset[str], vocabulary: Mapping[str, int]
    ) -> None:
        self._known = known
        self._vocabulary = vocabulary
        self._by_deletion: dict[str, set[str]] = {}
        for word in fixable:
            if len(word) > 3 and word.isalpha():
                for form in _deletions(word):
                    self._by_deletion.setdefault(form, set()).add(word)
        self._cache: dict[str, str] = {}

    def is_word(self, word: str) -> bool:
        """Whether a word (lower case) is known or ordinary English."""
        if word in self._known or word in self._vocabulary:
            return True
        root = stem(word)
        return root in self._vocabulary or root + "e" in self._vocabulary

    def respell(self, word: str, context: frozenset[str] = frozenset()) -> str:
        """The word, or what it was meant to be: a word of ``context`` first, then of the tables."""
        if len(word) < 3 or word in context or self.is_word(word):
            return word
        near = sorted(meant for meant in context if len(word) > 3 and is_slip(word, meant))
        if near:
            return min(near, key=lambda meant: edit_distance(word, meant))
        if word not in self._cache:
            if len(self._cache) > 16_384:
                self._cache.clear()
            self._cache[word] = self._search(word)
        return self._cache[word]

    def _search(self, word: str) -> str:
        forms = _deletions(word) if len(word) <= 40 else set()
        found = {meant for form in forms for meant in self._by_deletion.get(form, ())}
        found = {meant for meant in found if is_slip(word, meant)}
        rank = self._vocabulary.get
        return min(
            sorted(found), key=lambda m: (edit_distance(word, m), rank(m, 99_999)), default=word
        )


def _deletions(word: str) -> set[str]:
    return {word} | {word[:i] + word[i + 1 :] for i in range(len(word))}
