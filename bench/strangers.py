"""Goals that strangers wrote without having seen the matcher, and the pairs they make.

bench/data/strangers/*.jsonl holds one family a line: {family, goal, same: [...], template:
[{text, slots}], different: [{text, kind}]}. ``read_pairs`` of bench.train_matching reads such
files as pairs, so ``python -m bench.matching bench/data/strangers/north.jsonl`` works. Every
look-alike is held against the goal and against one rewording, both ways round; weights are fitted
on the goal and its look-alikes only, so that about two of five pairs are rewordings, as elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

Family = dict[str, Any]
Pair = dict[str, Any]

_SEED = 7
_REWORDING_PAIRS = 4


def is_family(line: dict[str, Any]) -> bool:
    """Whether a line of a file is a family, not a pair."""
    return "goal" in line


def pairs_of(families: Sequence[Family], *, to_fit: bool = False) -> Iterator[Pair]:
    """The labelled pairs of families, the same at each call."""
    chance = random.Random(_SEED)
    for family in families:
        pairs = _pairs_of_one(family, chance)
        yield from (p for p in pairs if not to_fit or _is_to_fit(p, family["goal"]))
        others = [other for other in families if other is not family]
        if others:
            other = chance.choice(others)
            for text in (other["goal"], chance.choice(other["same"])):
                yield _pair(family, family["goal"], text, "different", "unrelated")


def _is_to_fit(pair: Pair, goal: str) -> bool:
    return bool(pair["label"] != "different" or pair["a"] == goal)


def _pairs_of_one(family: Family, chance: random.Random) -> Iterator[Pair]:
    goal, same = family["goal"], family["same"]
    for text in same:
        yield _pair(family, goal, text, "same", "paraphrase")
    for _ in range(_REWORDING_PAIRS):
        one, other = chance.sample(same, 2)
        yield _pair(family, one, other, "same", "paraphrase-pair")
    for template in family["template"]:
        pair = _pair(family, goal, template["text"], "template", "template")
        yield pair | {"slots": template["slots"]}
    for different in family["different"]:
        text, kind = different["text"], different["kind"]
        wording = chance.choice(same)
        for one, other in ((goal, text), (text, goal), (wording, text), (text, wording)):
            yield _pair(family, one, other, "different", kind)


def _pair(family: Family, one: str, other: str, label: str, kind: str) -> Pair:
    return {"a": one, "b": other, "label": label, "kind": kind, "family": family["family"]}
