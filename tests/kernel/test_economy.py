"""Money: reserved before, settled after, never above a limit."""

from __future__ import annotations

import math
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from llmos_workers.contracts.errors import (
    BudgetExceeded,
    GoalStateError,
    IllegalTransition,
    InvalidOption,
    LeaseLost,
    UnknownModel,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.economy_support import an_economy, ledger_sum, reserve, sums, unit_prices, used
from tests.kernel.goal_support import a_goal, an_outcome, expire_lease

DOLLAR = 1_000_000


@pytest.fixture
def economy(state, tmp_path):
    return an_economy(state, tmp_path, 10 * DOLLAR)


@pytest.fixture
def store(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def lease(store):
    goal = store.create(a_goal(project="p"))[0]
    return store.acquire(goal.goal_id, owner="w", mode="LEARNER")[0]


def test_a_call_is_reserved_sent_and_settled(economy, store, lease):
    call = reserve(economy, 900, goal=lease.goal_id, fence=lease.fence)
    assert sums(economy) == (0, 900, 0)
    economy.mark_sent(call)
    assert economy.settle(call, usage=used(400), journal=b"\x00answer", lease=lease) == 400
    for scope in ("global", "project:p", f"goal:{lease.goal_id}"):
        assert sums(economy, scope) == (400, 0, 0)
    assert store.journal(lease.goal_id) == [b"\x00answer"]
    (line,) = economy.ledger()
    assert (line.kind, line.micro, line.goal_id, line.project) == (
        "settle", 400, lease.goal_id, "p",
    )  # fmt: skip
    assert (line.mode, line.model, line.purpose) == ("LEARNER", "unit", "test")
    assert line.usage == used(400)
    assert abs(line.at - SystemClock().now()) < 60
    assert economy.reservations() == []


def test_settling_twice_charges_and_journals_once(economy, store, lease):
    call = reserve(economy, 900, goal=lease.goal_id, fence=lease.fence)
    economy.mark_sent(call)
    assert economy.settle(call, usage=used(400), journal=b"a", lease=lease) == 400
    assert economy.settle(call, usage=used(777), journal=b"b", lease=lease) == 400
    assert sums(economy) == (400, 0, 0)
    assert store.journal(lease.goal_id) == [b"a"]
    assert len(economy.ledger()) == 1


def test_what_was_never_sent_returns(economy):
    call = reserve(economy, 900)
    economy.release(call)
    economy.release(call)
    assert sums(economy) == (0, 0, 0)
    assert economy.reservations() == []
    assert economy.ledger() == []
    with pytest.raises(IllegalTransition, match="released"):
        economy.mark_sent(call)


def test_what_was_sent_cannot_be_taken_back(economy):
    call = reserve(economy, 900)
    economy.mark_sent(call)
    with pytest.raises(IllegalTransition, match="sent"):
        economy.release(call)
    assert sums(economy) == (0, 900, 0)


def test_no_answer_is_in_doubt_at_its_bound_until_it_is_known(economy):
    call = reserve(economy, 900)
    with pytest.raises(IllegalTransition):
        economy.in_doubt(call)
    economy.mark_sent(call)
    economy.in_doubt(call)
    economy.in_doubt(call)
    assert sums(economy) == (0, 0, 900)
    assert [(d.reservation_id, d.bound_micro) for d in economy.doubts()] == [(call, 900)]
    assert [(e.kind, e.micro, e.bound_micro) for e in economy.ledger()] == [("doubt", 0, 900)]
    assert economy.settle(call, usage=used(100)) == 100
    assert sums(economy) == (100, 0, 0)
    assert economy.doubts() == []


def test_money_all_scopes_or_none(economy):
    economy.set_limit("project:p", 1_000)
    with pytest.raises(BudgetExceeded) as caught:
        reserve(economy, 1_001)
    assert (caught.value.scope, caught.value.needed) == ("project:p", 1_001)
    assert (caught.value.available, caught.value.limit) == (1_000, 1_000)
    assert sums(economy) == sums(economy, "project:p") == sums(economy, "goal:g") == (0, 0, 0)
    with pytest.raises(BudgetExceeded, match="goal:g"):
        reserve(economy, 600, budget=500)
    reserve(economy, 500, budget=99_999)  # the goal's first limit stays
    with pytest.raises(BudgetExceeded, match="goal:g"):
        reserve(economy, 1)
    with pytest.raises(BudgetExceeded, match="global"):
        reserve(economy, 11 * DOLLAR, project="q", goal="h")


def test_money_what_is_in_doubt_counts_against_the_limit(economy):
    economy.set_limit("global", 1_000)
    call = reserve(economy, 600)
    economy.mark_sent(call)
    economy.in_doubt(call)
    with pytest.raises(BudgetExceeded):
        reserve(economy, 401)
    reserve(economy, 400)


def test_the_global_limit_is_set_once_and_changed_on_purpose(state, tmp_path):
    first, second = (an_economy(state, tmp_path, limit) for limit in (500, 900))
    assert first.scope("global")["limit"] == 500
    reserve(first, 100)
    assert second.scope("global")["limit"] == 500
    second.set_limit("global", None)
    reserve(first, 5_000)
    assert first.scope("global")["limit"] is None
    with pytest.raises(InvalidOption, match="spent or promised"):
        second.set_limit("global", 5_099)
    second.set_limit("global", 5_100)
    with pytest.raises(BudgetExceeded):
        reserve(first, 1)


def test_a_cost_above_its_bound_is_charged_all_the_same_and_remarked(economy, caplog):
    call = reserve(economy, 100)
    economy.mark_sent(call)
    assert economy.settle(call, usage=used(150)) == 150
    assert sums(economy) == (150, 0, 0)
    assert [e.kind for e in economy.ledger()] == ["over_bound", "settle"]
    assert "above its bound" in caplog.text


def test_no_late_writes_a_lost_lease_is_charged_and_not_journaled(economy, store, state, lease):
    call = reserve(economy, 900, goal=lease.goal_id, fence=lease.fence)
    economy.mark_sent(call)
    expire_lease(state, lease.goal_id)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            economy.settle(call, usage=used(400), journal=b"late", lease=lease)
    assert sums(economy) == (400, 0, 0)
    assert store.journal(lease.goal_id) == []


def test_no_late_writes_a_lost_lease_reserves_and_sends_nothing(economy, state, lease):
    call = reserve(economy, 900, goal=lease.goal_id, fence=lease.fence)
    expire_lease(state, lease.goal_id)
    with pytest.raises(LeaseLost):
        reserve(economy, 5, goal=lease.goal_id, fence=lease.fence)
    with pytest.raises(LeaseLost):
        economy.mark_sent(call)
    assert sums(economy) == (0, 0, 0)
    economy.release(call)


def test_money_a_dead_runs_reservations_return_or_become_doubts(economy, store, state, lease):
    dead = {"goal": lease.goal_id, "fence": lease.fence}
    unsent, sent = reserve(economy, 100, **dead), reserve(economy, 200, **dead)
    economy.mark_sent(sent)
    alive = store.create(a_goal())[0]
    live, _ = store.acquire(alive.goal_id, owner="w")
    held = reserve(economy, 400, goal=live.goal_id, fence=live.fence)
    loose = reserve(economy, 800)
    assert economy.reclaim() == {"released": 0, "doubt": 0}
    expire_lease(state, lease.goal_id)
    assert economy.reclaim() == {"released": 1, "doubt": 1}
    assert economy.reclaim() == {"released": 0, "doubt": 0}
    assert sums(economy) == (0, 1_200, 200)
    assert [d.reservation_id for d in economy.doubts()] == [sent]
    assert {r.reservation_id for r in economy.reservations()} == {sent, held, loose}
    with pytest.raises(IllegalTransition):
        economy.mark_sent(unsent)
    state.hset(keys.reservation(loose), "at", "1.0")
    assert economy.reclaim() == {"released": 1, "doubt": 0}


def test_evidence_that_comes_after_a_release_is_charged(economy):
    call = reserve(economy, 900)
    economy.release(call)
    assert economy.settle(call, usage=used(5)) == 5
    assert sums(economy) == (5, 0, 0)


def test_a_journal_entry_needs_a_lease(economy):
    call = reserve(economy, 9)
    with pytest.raises(GoalStateError, match="lease"):
        economy.settle(call, usage=used(1), journal=b"x")


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, -math.inf, 1.5, True, None, "7", 10**15])
def test_what_is_no_amount_is_refused(economy, bad):
    with pytest.raises(InvalidOption):
        reserve(economy, bad)
    with pytest.raises(InvalidOption):
        economy.record_saved(goal_id="g", project="p", mode="FOLLOWER", micro=bad)
    if bad is not None:
        with pytest.raises(InvalidOption):
            reserve(economy, 1, budget=bad)
        with pytest.raises(InvalidOption):
            economy.set_limit("global", bad)
    assert economy.reservations() == []


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "much", True, None])
def test_what_are_no_dollars_is_refused(economy, bad):
    with pytest.raises(InvalidOption):
        economy.can_afford(bad)
    with pytest.raises(InvalidOption):
        economy.deduct(bad, "x")


@pytest.mark.parametrize("scope", ["", "project:", "goal:", "team:x", "globe"])
def test_what_is_no_scope_is_refused(economy, scope):
    with pytest.raises(InvalidOption):
        economy.set_limit(scope, 5)


def test_unknown_models_and_reservations_are_refused(economy):
    with pytest.raises(UnknownModel):
        economy.reserve(
            goal_id="g", project="p", model="nope", bound_micro=1, purpose="t", fence=None
        )
    for unknown in ("x/p/g", "garbage"):
        for ask in (economy.mark_sent, economy.release, economy.in_doubt):
            with pytest.raises(IllegalTransition):
                ask(unknown)
        with pytest.raises(IllegalTransition):
            economy.settle(unknown, usage=used(1))


def test_direct_charges_savings_and_the_summary(economy):
    economy.deduct(0.25, "a judge call")
    economy.deduct("0.5", "another", project="p")
    economy.deduct(0, "free")
    economy.record_saved(goal_id="g", project="p", mode="FOLLOWER", micro=70)
    summary = economy.get_summary()
    assert (summary["budget_usd"], summary["spent_usd"], summary["remaining_usd"]) == (
        10, 0.75, 9.25,
    )  # fmt: skip
    assert summary["saved_micro"] == economy.get_summary("p")["saved_micro"] == 70
    assert economy.get_summary("p")["remaining_micro"] is None
    assert economy.get_summary("p")["spent_micro"] == 500_000
    assert economy.can_afford(9.25)
    assert not economy.can_afford(9.250001)
    with pytest.raises(BudgetExceeded):
        economy.deduct(9.3, "too much")
    saved = economy.ledger()[0]
    assert (saved.kind, saved.saved_micro, saved.micro, saved.mode) == ("saved", 70, 0, "FOLLOWER")


def test_the_share_that_is_left_follows_the_narrower_scope(economy):
    assert economy.remaining_share("p") == 1.0
    reserve(economy, 5 * DOLLAR)
    assert economy.remaining_share("p") == 0.5
    economy.set_limit("project:p", 20 * DOLLAR)
    assert economy.remaining_share("p") == 0.5
    economy.set_limit("project:p", 5 * DOLLAR)
    assert economy.remaining_share("p") == 0.0
    assert economy.remaining_share("q") == 0.5
    assert not economy.can_afford(0.000001, project="p")


def test_without_limits_everything_fits(state, tmp_path):
    economy = an_economy(state, tmp_path, None)
    assert economy.can_afford(10**6)
    assert economy.available() is None
    reserve(economy, 10**14)
    assert economy.remaining_share("p") == 1.0


def test_a_goals_scope_goes_with_its_record(economy, store, state, lease):
    call = reserve(economy, 9, goal=lease.goal_id, fence=lease.fence)
    name = keys.scope_budget(f"goal:{lease.goal_id}")
    assert state.ttl(name) == -1
    store.finish(an_outcome(lease.goal_id), fence=lease.fence)
    assert state.ttl(name) > 0
    economy.settle(call, usage=used(1))
    assert 0 < state.ttl(name) <= state.ttl(keys.goal(lease.goal_id))
    reserve(economy, 1, goal="without-record")
    assert state.ttl(keys.scope_budget("goal:without-record")) > 0


def test_a_call_sent_twice_by_the_client_library_counts_once(state, redis_server, tmp_path):
    from tests.kernel.test_goals_run import Repeating

    store = GoalStore(state, SystemClock())
    goal = store.create(a_goal(project="p"))[0]
    lease, _ = store.acquire(goal.goal_id, owner="w")
    with Repeating.from_url(f"{redis_server}/2") as client:
        economy = an_economy(client, tmp_path, 1_000)
        reserve(economy, 1)  # loads the script
        call = reserve(economy, 100, goal=goal.goal_id, fence=lease.fence)
        economy.mark_sent(call)
        economy.settle(call, usage=used(60), journal=b"x", lease=lease)
        economy.deduct("0.000007", "once")
        economy.record_saved(goal_id=goal.goal_id, project="p", mode="FOLLOWER", micro=3)
        assert sums(economy) == (67, 1, 0)
        assert economy.scope("global")["saved"] == 3
    assert store.journal(goal.goal_id) == [b"x"]
    assert ledger_sum(state) == 67
    store.finish(an_outcome(goal.goal_id, GoalState.FAILED), fence=lease.fence)


def test_no_late_writes_what_a_run_saved_is_noted_once_and_under_its_lease(
    economy, store, lease, state
):
    saved = {"project": "p", "mode": "FOLLOWER", "micro": 70}
    for _ in range(2):
        economy.record_saved(goal_id=lease.goal_id, **saved, lease=lease)
    expire_lease(state, lease.goal_id)
    later, _ = store.acquire(lease.goal_id, owner="x")
    economy.record_saved(goal_id=lease.goal_id, **saved, lease=later)
    other = store.create(a_goal(project="p"))[0].goal_id
    late, _ = store.acquire(other, owner="w")
    expire_lease(state, other)
    with pytest.raises(LeaseLost):
        economy.record_saved(goal_id=other, **saved, lease=late)
    assert economy.scope("global")["saved"] == 70


def _spend(url: str, folder: str, count: int) -> int:
    """Reserve a dollar ``count`` times from eight threads; how often it was granted."""
    local = threading.local()

    def once(number: int) -> int:
        if not hasattr(local, "economy"):
            local.economy = an_economy(redis.Redis.from_url(url), Path(folder), 50 * DOLLAR)
        try:
            reserve(local.economy, DOLLAR, goal=f"g{number}", project=f"p{number % 3}")
        except BudgetExceeded:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(once, range(count)))


@pytest.mark.process
def test_money_200_concurrent_dollars_on_50_grant_exactly_50(state, redis_server, tmp_path):
    unit_prices(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        jobs = [pool.submit(_spend, f"{redis_server}/2", str(tmp_path), 50) for _ in range(4)]
        assert sum(job.result(60) for job in jobs) == 50
    economy = an_economy(state, tmp_path, 50 * DOLLAR)
    assert sums(economy) == (0, 50 * DOLLAR, 0)
    assert len(economy.reservations()) == 50
