"""Deeds in another order are another goal, unless they have nothing to do with each other."""

from __future__ import annotations

import pytest

from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import bundled_embedder

FOLLOW = 0.92


def confidence(one: str, other: str) -> float:
    return compare(one, other, bundled_embedder().embed).confidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Run the tests, then commit the changes", "Commit the changes, then run the tests"),
        ("Run the tests; commit the changes", "Commit the changes; run the tests"),
        ("Sort a.txt; append a.txt to b.txt", "Append a.txt to b.txt; sort a.txt"),
        (
            "Write a haiku about rain into rain.md; copy rain.md to wet.md",
            "Copy rain.md to wet.md; write a haiku about rain into rain.md",
        ),
        (
            "Convert a.csv to JSON and then plot b.csv into b.png",
            "Plot b.csv into b.png and then convert a.csv to JSON",
        ),
        ("Back it up. Deploy it.", "Deploy it. Back it up."),
    ],
)
def test_deeds_in_another_order_are_never_followed(one: str, other: str) -> None:
    assert confidence(one, other) < FOLLOW
    assert confidence(other, one) < FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Run the tests; commit the changes", "Run the tests, then commit the changes"),
        ("Sort a.txt; append a.txt to b.txt", "Please sort a.txt and append a.txt to b.txt"),
        (
            "Write a haiku about rain into rain.md; write a haiku about snow into snow.md",
            "Write a haiku about snow into snow.md; write a haiku about rain into rain.md",
        ),
    ],
)
def test_the_same_order_or_deeds_on_things_of_their_own_are_followed(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW
