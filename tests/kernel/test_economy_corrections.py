"""Doubts put right by hand, and the edges of a call's life."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.errors import IllegalTransition, InvalidOption
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.economy_support import an_economy, ledger_sum, reserve, sums, used
from tests.kernel.goal_support import a_goal


@pytest.fixture
def economy(state, tmp_path):
    return an_economy(state, tmp_path, 10_000)


@pytest.fixture
def doubtful(economy):
    call = reserve(economy, 900)
    economy.mark_sent(call)
    economy.in_doubt(call)
    return call


def over_remarks(economy) -> list[int]:
    return [line.over_micro for line in economy.ledger() if line.kind == "over_bound"]


def test_money_a_doubt_is_charged_what_the_evidence_says(economy, state, doubtful):
    economy.correct(doubtful, 250, why="the bill")
    assert sums(economy) == sums(economy, "goal:g") == (250, 0, 0)
    line = economy.ledger()[0]
    assert (line.kind, line.micro, line.why, line.model) == ("correct", 250, "the bill", "unit")
    assert economy.doubts() == economy.reservations() == []
    assert audit(state).faults == ()


def test_evidence_above_the_bound_is_charged_and_remarked(economy, state, doubtful):
    economy.correct(doubtful, 1_000, why="the bill")
    assert sums(economy) == (1_000, 0, 0)
    assert over_remarks(economy) == [100]
    assert audit(state).faults == ()


def test_only_what_is_in_doubt_is_corrected_and_once(economy, doubtful):
    held = reserve(economy, 5)
    with pytest.raises(IllegalTransition, match="reserved"):
        economy.correct(held, 1, why="x")
    with pytest.raises(InvalidOption):
        economy.correct(doubtful, -1, why="x")
    economy.correct(doubtful, 10, why="x")
    with pytest.raises(IllegalTransition, match="settled"):
        economy.correct(doubtful, 11, why="x")
    assert sums(economy) == (10, 5, 0)


def test_an_answer_after_the_correction_changes_nothing(economy, state, doubtful):
    economy.correct(doubtful, 10, why="x")
    assert economy.settle(doubtful, usage=used(500)) == 10
    assert ledger_sum(state) == 10


def test_a_correction_sent_twice_counts_once(economy, state, redis_server, tmp_path, doubtful):
    from tests.kernel.test_goals_run import Repeating

    with Repeating.from_url(f"{redis_server}/2") as client:
        an_economy(client, tmp_path).correct(doubtful, 30, why="x")
    assert sums(economy) == (30, 0, 0)
    assert ledger_sum(state) == 30


def test_money_a_charge_after_a_release_is_remarked_as_above_what_was_held(economy, state):
    economy.set_limit("project:p", 10)
    call = reserve(economy, 10)
    economy.release(call)
    reserve(economy, 10)
    economy.settle(call, usage=used(7))
    assert over_remarks(economy) == [7]
    assert audit(state).faults == ()  # 17 of 10, and the ledger says why


def test_a_reservation_of_nothing_has_a_goal_too(economy):
    call = reserve(economy, 0)
    economy.settle(call, usage=used(5))
    assert sums(economy, "goal:g") == (5, 0, 0)


def test_a_scope_that_was_there_before_its_goal_stays_as_long(economy, state):
    goal = a_goal(project="p")
    name = keys.scope_budget(f"goal:{goal.goal_id}")
    economy.set_limit(f"goal:{goal.goal_id}", 100)
    assert state.ttl(name) > 0
    GoalStore(state, SystemClock()).create(goal)
    reserve(economy, 1, goal=goal.goal_id)
    assert state.ttl(name) == -1
