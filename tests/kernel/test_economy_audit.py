"""The audit finds what is wrong with money, and nothing when nothing is."""

from __future__ import annotations

import pytest

from llmos_workers.kernel import keys
from llmos_workers.kernel.economy_audit import audit
from tests.kernel.economy_support import Calendar, an_economy, reserve, used


@pytest.fixture
def economy(state, tmp_path):
    """One call of each kind, with limits in each scope and window."""
    found = an_economy(state, tmp_path, 10_000)
    for window in ("day", "month"):
        found.set_limit("project:p", 5_000, window=window)
    settled, doubtful, _held = (reserve(found, 500, budget=3_000) for _ in range(3))
    for call in (settled, doubtful):
        found.mark_sent(call)
    found.settle(settled, usage=used(400))
    found.in_doubt(doubtful)
    found.deduct("0.0001", "a judge", project="q")
    found.record_saved(goal_id="g", project="p", mode="FOLLOWER", micro=7)
    return found


def told(state) -> list[tuple[str, str, int, int]]:
    return [(f.scope, f.what.split(": ")[-1], f.expected, f.found) for f in audit(state).faults]


def test_money_all_is_well_with_every_kind_of_entry(economy, state):
    found = audit(state)
    assert found.faults == ()
    assert (found.ledger_entries, found.scopes, found.reservations) == (4, 4, 2)
    assert found.spent_micro == economy.scope("global")["spent"] == 500


def test_nothing_at_all_is_well(state):
    assert audit(state).faults == ()


WORDS = {
    "spent": "spent is not the sum of the ledger",
    "reserved": "reserved is not the sum of the open reservations",
    "in_doubt": "in doubt is not the sum of the calls in doubt",
}


@pytest.mark.parametrize("scope", ["global", "project:p", "goal:g"])
@pytest.mark.parametrize("kind", WORDS)
def test_a_sum_that_is_off_by_one_is_found(economy, state, scope, kind):
    right = economy.scope(scope)[kind]
    state.hincrby(keys.scope_budget(scope), kind, 1)
    assert told(state) == [(scope, WORDS[kind], right, right + 1)]
    assert f"({right + 1} / {right})" in str(audit(state).faults[0])


@pytest.mark.parametrize("field", ["day_spent", "month_reserved", "day_in_doubt"])
def test_a_windows_sum_that_is_off_is_found(economy, state, field):
    state.hincrby(keys.scope_budget("project:p"), field, -1)
    (fault,) = audit(state).faults
    assert (fault.scope, fault.window) == ("project:p", field.split("_")[0])


def test_savings_a_lost_line_and_a_lost_reservation_are_found(economy, state):
    state.hincrby(keys.scope_budget("global"), "saved", 1)
    assert ("global", "saved is not the sum of the ledger", 7, 8) in told(state)
    state.hincrby(keys.scope_budget("global"), "saved", -1)
    lines = {f[b"kind"]: entry_id for entry_id, f in state.xrange(keys.LEDGER)}
    state.xdel(keys.LEDGER, lines[b"deduct"])
    spent = {fault[0] for fault in told(state)}
    assert spent == {"global", "project:q"}
    state.delete(keys.reservation(economy.doubts()[0].reservation_id))
    assert any("listed as open" in what for _, what, _, _ in told(state))


def test_money_above_a_limit_is_found_but_not_what_a_call_cost_above_its_bound(economy, state):
    call = reserve(economy, 500)
    economy.mark_sent(call)
    economy.settle(call, usage=used(9_000))
    assert told(state) == []
    state.hset(keys.scope_budget("goal:g"), "limit", 1_000)
    ((scope, words, limit, found),) = told(state)
    assert (scope, limit, found) == ("goal:g", 1_000, 10_400)
    assert "above the limit" in words


def test_a_scope_that_is_gone_is_found(economy, state):
    state.delete(keys.scope_budget("project:p"))
    assert ("project:p", "spent is not the sum of the ledger", 400, 0) in told(state)


def test_all_stays_well_in_the_next_window(state, tmp_path, monkeypatch):
    calendar = Calendar(state, monkeypatch)
    calendar.go_to("2026-11-30")
    economy = an_economy(state, tmp_path, 10_000)
    late, doubtful = reserve(economy, 500), reserve(economy, 500)
    for call in (late, doubtful):
        economy.mark_sent(call)
    calendar.go_to("2026-12-01")
    assert told(state) == []  # nothing has begun the new windows yet
    economy.settle(late, usage=used(300))
    economy.in_doubt(doubtful)
    economy.correct(doubtful, 20, why="the bill")
    reserve(economy, 10, project="new")
    assert told(state) == []


def test_a_goal_whose_record_is_gone_is_left_out(economy, state):
    state.delete(keys.scope_budget("goal:g"))
    assert audit(state).faults == ()
