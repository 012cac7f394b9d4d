"""A plan's money: its members spend within their own slice and within all goals above."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.errors import BudgetExceeded
from llmos_workers.contracts.goal import GoalRecord, Member
from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.prices import Prices
from tests.kernel.goal_support import a_goal

MODEL = "claude-sonnet-5-5"


@pytest.fixture
def economy(state) -> TokenEconomy:
    return TokenEconomy(state, SystemClock(), Prices.load(None), limit_micro=10_000_000)


def a_member(of: GoalRecord, depth: int = 1) -> GoalRecord:
    child = a_goal("a part")
    member = Member(parent_id=of.goal_id, depth=depth, step="s", place="default@x")
    options = child.options.model_copy(update={"member": member})
    return child.model_copy(update={"options": options})


@pytest.fixture
def family(state) -> list[GoalRecord]:
    """A goal, its member, and that one's member."""
    goals = GoalStore(state, SystemClock())
    top = a_goal("the whole")
    middle = a_member(top)
    low = a_member(middle, 2)
    goals.create_many([top, middle, low])
    return [top, middle, low]


def reserve(economy: TokenEconomy, record: GoalRecord, micro: int, budget: int | None = None):
    return economy.reserve(
        goal_id=record.goal_id, project="default", model=MODEL, bound_micro=micro,
        purpose="learn", fence=None, goal_budget_micro=budget,
    )  # fmt: skip


def spent(economy: TokenEconomy, record: GoalRecord) -> tuple[int, int, int]:
    sums = economy.scope(f"goal:{record.goal_id}")
    return sums["reserved"] or 0, sums["in_doubt"] or 0, sums["spent"] or 0


def test_a_members_call_counts_in_every_goal_above_and_the_rest_returns(
    economy, family, state
) -> None:
    call = reserve(economy, family[2], 50_000)
    assert [spent(economy, each) for each in family] == [(50_000, 0, 0)] * 3
    assert audit(state).faults == ()
    economy.mark_sent(call)
    cost = economy.settle(call, usage=Usage(input_tokens=1_000))
    assert 0 < cost < 50_000
    assert [spent(economy, each) for each in family] == [(0, 0, cost)] * 3
    assert economy.scope("global")["spent"] == cost
    assert audit(state).faults == ()


def test_the_parents_limit_holds_for_all_its_members_together(economy, family, state) -> None:
    economy.set_limit(f"goal:{family[0].goal_id}", 100_000)
    sibling = a_member(family[0])
    GoalStore(state, SystemClock()).create_many([sibling])
    reserve(economy, sibling, 60_000, budget=90_000)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(economy, family[2], 60_000, budget=90_000)
    assert refused.value.scope == f"goal:{family[0].goal_id}"
    assert refused.value.available == 40_000
    assert audit(state).faults == ()


def test_a_doubt_and_its_correction_reach_the_parents_though_the_record_is_gone(
    economy, family, state
) -> None:
    call = reserve(economy, family[2], 50_000)
    economy.mark_sent(call)
    economy.in_doubt(call)
    assert spent(economy, family[0]) == (0, 50_000, 0)
    state.delete(keys.goal(family[2].goal_id))
    economy.correct(call, 7, why="the invoice")
    assert spent(economy, family[0]) == (0, 0, 7)
    assert audit(state).faults == ()
