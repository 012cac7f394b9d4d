"""Totals count each goal and each ledger line once."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import ToolCallSummary
from llmos_workers.kernel import keys
from llmos_workers.monitor.tally import Histogram, Tally


def test_each_goal_and_each_charge_is_counted_once(client, end, charge, monkeypatch):
    monkeypatch.setattr("llmos_workers.monitor.tally.PAGE", 2)
    tally = Tally(client.redis)
    outcomes = [end(cost_micro=7) for _ in range(5)]
    end(Mode.FOLLOWER, trace_id="t", confidence=0.97)
    end(None, "REJECTED")
    spent = charge(outcomes[0].goal_id)
    for _ in range(3):
        tally.update()
    assert tally.ended == {
        ("LEARNER", "SUCCEEDED"): 5, ("FOLLOWER", "SUCCEEDED"): 1, ("NONE", "REJECTED"): 1,
    }  # fmt: skip
    assert sum(tally.cost.values()) == spent == client.token_economy.scope("global")["spent"]
    assert sum(tally.tokens.values()) == 1_100
    assert sum(tally.confidence["FOLLOWER"].counts) == 1
    assert "LEARNER" not in tally.confidence
    end(Mode.FOLLOWER)
    tally.update()
    assert tally.ended["FOLLOWER", "SUCCEEDED"] == 2


def test_who_ends_with_a_late_clock_is_counted_too(client, end):
    tally = Tally(client.redis)
    end()
    tally.update()
    late = end()
    index = keys.goals_in_state("SUCCEEDED")
    client.redis.zadd(index, {late.goal_id: client.redis.zscore(index, late.goal_id) - 60})
    tally.update()
    assert tally.ended["LEARNER", "SUCCEEDED"] == 2


def test_classes_of_a_histogram_add_up():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert list(histogram.cumulative()) == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.total == 12.0


def test_a_tool_that_never_did_anything_has_no_name(client, end):
    """A model may ask for a tool whose name is a goal's text."""

    def call(name: str, ok: bool) -> ToolCallSummary:
        return ToolCallSummary(name=name, summary="", ok=ok, duration_ms=200.0)

    asked = ("my secret plan", False), ("Read", True), ("Read", False)
    end(calls=tuple(call(*each) for each in asked))
    tally = Tally(client.redis)
    tally.update()
    assert sorted(tally.tools) == ["Read", "other"]
    assert (tally.failed_tools["Read"], tally.failed_tools["other"]) == (1, 1)
    assert tally.tools["Read"].total == pytest.approx(0.4)
