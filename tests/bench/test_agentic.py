"""bench.agentic counts what a model says and what the follower makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from bench.agentic import cases, measure
from edge_runtime.run_agentic_follower import Model

Answer = Callable[[dict[str, Any], str, dict[str, list[str]]], Any]


class Said(Model):
    """Answers by a function instead of a server."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("http://127.0.0.1:9")
        self.answer = answer

    def fill(self, item: dict[str, Any], goal: str, allowed: dict[str, list[str]]) -> Any:
        return self.answer(item, goal, allowed)


KNOWN = cases()
RIGHT = {
    tuple(sorted(case["slots"].items())): [case["alike"]["values"], case["reworded"]["values"]]
    for case in KNOWN
}


def right(item: dict[str, Any], goal: str, allowed: dict[str, list[str]]) -> Any:
    slots = {slot["name"]: slot["value"] for slot in item["match"]["slots"]}
    values = RIGHT[tuple(sorted(slots.items()))]
    return next((v for v in values if all(text in goal for text in v.values())), None)


def test_a_model_that_is_always_right() -> None:
    tally = measure(Said(right), KNOWN)
    assert tally.exact == {"alike": 20, "reworded": 20}
    assert 20 < tally.chance < 40
    assert tally.followed["alike"] == 20
    assert tally.followed["reworded"] >= 4
    assert (tally.followed["lookalike"], tally.wrong) == (0, [])


def test_a_model_that_answers_anything_makes_nothing_wrong() -> None:
    """Each choice it has, for each goal, as the n-th answer of a model."""
    for at in range(3):

        def nth(item: dict[str, Any], goal: str, allowed: dict[str, list[str]], n: int = at) -> Any:
            answers = itertools.islice(itertools.product(*allowed.values()), n, None)
            return dict(zip(allowed, next(answers, ("x",) * len(allowed)), strict=True))

        assert measure(Said(nth), KNOWN).wrong == []


def test_a_model_that_says_nothing_leaves_what_needs_none() -> None:
    tally = measure(Said(lambda item, goal, allowed: None), KNOWN)
    assert {kind for kind, count in tally.followed.items() if count} == {"alike"}
    assert tally.followed == tally.substituted
