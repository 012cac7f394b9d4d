"""Which of many tools fit a need: BM25 over names, descriptions and arguments, joined with
embeddings where an embedder is at hand.

Ranking is pure and deterministic: the same tools and the same words give the same order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.tools import ToolSpec

NAME_WEIGHT, TEXT_WEIGHT, ARGUMENT_WEIGHT = 2.0, 1.0, 0.3
"""How often a word counts that stands in the name, the description, the arguments (BM25F)."""

K1, B = 1.2, 0.5
"""Saturation of repeated words, and how much long texts are discounted (Robertson and Zaragoza
2009 give 1.2 and 0.75; descriptions of tools vary little in length)."""

TEXT_SHARE = 0.2
"""Weight of BM25 beside the cosine, when there are embeddings; both are scaled to 0..1."""

MAX_QUERY_CHARS = 1_000

STOP_WORDS = frozenset(
    word
    for line in (
        "a an and are as at be by can do does for from get give has have how i in into is it its",
        "me my of on or our out please some that the their them this to was we what when where",
        "which who will with you your",
    )
    for word in line.split()
)

Vectors = Sequence[Sequence[float]]
Embed = Callable[[Sequence[str]], Vectors]
"""Texts to unit vectors."""

_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "es", "ed", "er", "s", "e")


@dataclass(frozen=True)
class Found:
    """A tool with how well it fits, best first; scores compare within one search only."""

    spec: ToolSpec
    score: float


class ToolSearchEngine:
    """Ranks a fixed set of tools. ``embed`` is called once for all of them, at the first search."""

    def __init__(self, specs: Iterable[ToolSpec], *, embed: Embed | None = None) -> None:
        self._specs = sorted(specs, key=lambda spec: spec.name)
        self._documents = [_weighted(spec) for spec in self._specs]
        self._lengths = [sum(document.values()) for document in self._documents]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 1.0
        self._holding = Counter(word for document in self._documents for word in document)
        self._embed = embed
        self._vectors: Vectors | None = None

    def search_tools(self, query: str, top_k: int = 5) -> list[Found]:
        """The best ``top_k`` tools; fewer when no more have anything in common with the query."""
        query = query[:MAX_QUERY_CHARS]
        scores = self._by_words(query)
        if self._embed is not None and self._specs:
            scores = self._joined(scores, query)
        named = query.strip().lower()
        for at, spec in enumerate(self._specs):
            if spec.name.lower() == named:
                scores[at] = max(scores) + 1.0
        order = sorted(range(len(scores)), key=lambda at: (-scores[at], self._specs[at].name))
        return [Found(self._specs[at], scores[at]) for at in order[:top_k] if scores[at] > 0]

    def _by_words(self, query: str) -> list[float]:
        scores = [0.0] * len(self._specs)
        for word in dict.fromkeys(words(query)):
            holding = self._holding.get(word, 0)
            if not holding:
                continue
            rarity = math.log(1 + (len(self._specs) - holding + 0.5) / (holding + 0.5))
            for at, document in enumerate(self._documents):
                if count := document.get(word, 0.0):
                    room = K1 * (1 - B + B * self._lengths[at] / self._mean)
                    scores[at] += rarity * count * (K1 + 1) / (count + room)
        return scores

    def _joined(self, by_words: list[float], query: str) -> list[float]:
        assert self._embed is not None  # noqa: S101 - asked by the caller
        if self._vectors is None:
            self._vectors = self._embed([_sentence(spec) for spec in self._specs])
        [asked] = self._embed([query])
        best = max(by_words) or 1.0
        cosines = [
            sum(float(a) * float(b) for a, b in zip(asked, vector, strict=True))
            for vector in self._vectors
        ]
        return [
            TEXT_SHARE * text / best + (1 - TEXT_SHARE) * max(0.0, cosine)
            for text, cosine in zip(by_words, cosines, strict=True)
        ]


def words(text: str) -> list[str]:
    """The words of a text or of a name in any case style, stemmed, without empty words."""
    parts = (part.lower() for word in _WORD.findall(text) for part in _HUMP.split(word))
    return [stem(part) for part in parts if part not in STOP_WORDS]


def stem(word: str) -> str:
    """A word without its ending: light, for English; it only has to be the same on both sides."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return _single(word.removesuffix(ending)).removesuffix("i").removesuffix("y")
    return word.removesuffix("y") if len(word) > 3 else word


def _single(word: str) -> str:
    """``stopp`` (of stopped) as ``stop``; ``call`` stays."""
    doubled = len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz"
    return word[:-1] if doubled else word


def _weighted(spec: ToolSpec) -> dict[str, float]:
    counts: dict[str, float] = {}
    parts = ((spec.name, NAME_WEIGHT), (spec.description, TEXT_WEIGHT))
    for text, weight in (*parts, (" ".join(_arguments(spec.input_schema)), ARGUMENT_WEIGHT)):
        for word in words(text):
            counts[word] = counts.get(word, 0.0) + weight
    return counts


def _arguments(schema: dict[str, Any]) -> list[str]:
    properties = schema.get("properties", {})
    return [f"{name} {part.get('description', '')}" for name, part in properties.items()]


def _sentence(spec: ToolSpec) -> str:
    name = " ".join(part for word in _WORD.findall(spec.name) for part in _HUMP.split(word))
    return f"{name.lower()}: {spec.description}"
