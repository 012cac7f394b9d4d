"""The bench of the internal state: the same day on both sides, and what got worse is said."""

from __future__ import annotations

import json

import pytest

from bench.sentience import Mind, events, live, recovery_minutes, show
from llmos_workers.contracts.state import TriggerType

GOALS = 200


def test_both_sides_see_the_same_day() -> None:
    assert list(events(3, GOALS)) == list(events(3, GOALS))
    assert list(events(3, GOALS)) != list(events(4, GOALS))
    assert vars(live(3, GOALS, layer=True)) == vars(live(3, GOALS, layer=True))


def test_without_the_layer_no_state_stops_anything() -> None:
    day = live(1, GOALS, layer=False)
    names = ("harm_stopped_by_state", "needless_questions", "innocent_denied", "careful_goals")
    assert [day.counts[name] for name in names] == [0, 0, 0, 0]
    assert recovery_minutes(day, "attack") < 60


def test_one_source_moves_the_mind_no_further_than_in_the_product() -> None:
    mind = Mind()
    for _ in range(50):
        mind.feel(TriggerType.SAFETY_VIOLATION)
    assert mind.values.safety == pytest.approx(0.5 - 0.9)


def test_what_is_worse_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [[live(seed, GOALS, layer=layer) for seed in (1, 2)] for layer in (False, True)]
    show(*sides)
    told = capsys.readouterr().out
    figures = json.loads(told.splitlines()[-1])
    assert figures["violations_with"] <= figures["violations_without"]
    worse = told.partition("Worse with the layer")[2].rpartition("\n{")[0]
    for name in ("needless_questions", "innocent_denied", "careful_goals"):
        assert (name in worse) == (figures[f"{name}_with"] > 0)
