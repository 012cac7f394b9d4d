"""Limits for a day and a month, and the alerts on the way to any limit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.config import KernelConfig
from llmos_workers.contracts.errors import BudgetExceeded, InvalidOption, UnknownModel
from llmos_workers.contracts.events import Topic
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.economy_scopes import current_day, window_end
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.prices import OVERHEAD_TOKENS
from tests.kernel.economy_support import (
    Calendar,
    alerts_on_bus,
    an_economy,
    reserve,
    unit_prices,
    used,
)

EVENING, MORNING = "2026-11-30", "2026-12-01"


@pytest.fixture
def calendar(state, monkeypatch):
    found = Calendar(state, monkeypatch)
    found.go_to(EVENING)
    return found


@pytest.fixture
def economy(state, tmp_path, calendar):
    return an_economy(state, tmp_path)


def window_sums(economy, window: str, scope: str = "global") -> tuple[int, int, int]:
    (state,) = economy.states([scope])
    (found,) = [sums for sums in state.all_sums if sums.window == window]
    return found.spent_micro, found.reserved_micro, found.in_doubt_micro


def spend(economy, micro: int, **scopes) -> None:
    call = reserve(economy, micro, **scopes)
    economy.mark_sent(call)
    economy.settle(call, usage=used(micro))


def shares(alerts) -> list[tuple[str, str, int]]:
    return [(a["scope"], a["window"], a["share"]) for a in alerts]


# windows


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 253_402_300_799))
def test_the_scripts_day_is_the_utc_day(redis_server, at):
    import redis

    text = scripts.load("calendar").text + "\nreturn day_of(tonumber(ARGV[1]))"
    with redis.Redis.from_url(redis_server) as client:
        told = client.eval(text, 0, at).decode()
    assert told == datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


@pytest.mark.parametrize("scope", ["global", "project:p"])
def test_money_a_days_limit_holds_for_the_day_and_opens_with_the_next(economy, calendar, scope):
    economy.set_limit(scope, 1_000, window="day")
    spend(economy, 700)
    with pytest.raises(BudgetExceeded) as caught:
        reserve(economy, 301)
    error = caught.value
    assert (error.scope, error.window, error.available, error.limit) == (scope, "day", 300, 1_000)
    assert error.until == "2026-12-01T00:00Z"
    assert "for this day (UTC)" in error.message
    assert f"llmos budget set {scope} AMOUNT --window day" in error.fix
    reserve(economy, 300)
    calendar.go_to(MORNING)
    assert window_sums(economy, "day", scope) == (0, 0, 0)
    reserve(economy, 1_000)
    with pytest.raises(BudgetExceeded):
        reserve(economy, 1)
    assert economy.scope(scope)["spent"] == 700


def test_money_a_months_limit_holds_over_days_beside_the_lifetimes(economy, calendar):
    calendar.go_to("2026-11-29")
    economy.set_limit("global", 1_000, window="month")
    economy.set_limit("global", 1_500)
    spend(economy, 600)
    calendar.go_to(EVENING)
    assert window_sums(economy, "month") == (600, 0, 0)
    with pytest.raises(BudgetExceeded, match="this month"):
        reserve(economy, 401)
    calendar.go_to(MORNING)
    with pytest.raises(BudgetExceeded) as caught:
        reserve(economy, 901)
    assert (caught.value.window, caught.value.available) == ("", 900)
    assert economy.available() == 900
    spend(economy, 900)


def test_money_a_call_counts_to_its_end_in_the_window_it_was_reserved_in(economy, calendar):
    economy.set_limit("global", 1_000, window="day")
    settled, doubtful, unsent = (reserve(economy, 300) for _ in range(3))
    economy.mark_sent(settled)
    economy.mark_sent(doubtful)
    calendar.go_to(MORNING)
    reserve(economy, 1_000)
    economy.settle(settled, usage=used(250))
    economy.in_doubt(doubtful)
    economy.release(unsent)
    assert window_sums(economy, "day") == window_sums(economy, "month") == (0, 1_000, 0)
    assert window_sums(economy, "") == (250, 1_000, 300)
    settle, *_ = (line for line in economy.ledger() if line.kind == "settle")
    assert settle.day == EVENING
    economy.settle(doubtful, usage=used(10))
    assert window_sums(economy, "") == (260, 1_000, 0)
    assert window_sums(economy, "day") == (0, 1_000, 0)


def test_a_call_over_midnight_within_a_month_counts_in_the_month(economy, calendar):
    calendar.go_to("2026-11-29")
    call = reserve(economy, 300)
    economy.mark_sent(call)
    calendar.go_to(EVENING)
    assert window_sums(economy, "month") == (0, 300, 0)
    economy.settle(call, usage=used(200))
    assert window_sums(economy, "month") == (200, 0, 0)
    assert window_sums(economy, "day") == (0, 0, 0)


def test_money_a_clock_that_is_set_back_begins_no_window_again(economy, calendar):
    economy.set_limit("global", 1_000, window="day")
    calendar.go_to(MORNING)
    spend(economy, 1_000)
    calendar.go_to(EVENING)
    assert window_sums(economy, "day") == (1_000, 0, 0)
    with pytest.raises(BudgetExceeded):
        reserve(economy, 1)
    calendar.go_to(MORNING)
    with pytest.raises(BudgetExceeded):
        reserve(economy, 1)


def test_a_clock_that_was_far_ahead_once_does_not_stop_the_windows(economy, calendar):
    calendar.go_to("2031-01-01")
    reserve(economy, 1)
    calendar.go_to(EVENING)
    reserve(economy, 1)
    assert window_sums(economy, "day") == (0, 1, 0)
    assert current_day(0.0, "1970-01-02") == "1970-01-02"
    assert current_day(0.0, "1970-01-04") == "1970-01-01"


def test_a_windows_limit_cannot_be_set_below_what_it_holds_and_can_be_lifted(economy):
    spend(economy, 500)
    with pytest.raises(InvalidOption, match="spent or promised"):
        economy.set_limit("global", 499, window="day")
    economy.set_limit("global", 500, window="day")
    assert not economy.can_afford("0.000001")
    assert economy.remaining_share("p") == 0.0
    economy.set_limit("global", None, window="day")
    assert economy.available() is None


def test_a_goal_has_a_limit_for_life_only(economy):
    with pytest.raises(InvalidOption, match="not for a window"):
        economy.set_limit("goal:g", 5, window="day")
    with pytest.raises(InvalidOption, match="no window"):
        economy.set_limit("global", 5, window="week")
    economy.set_limit("goal:g", 5)
    with pytest.raises(BudgetExceeded):
        reserve(economy, 6)


def test_the_settings_give_global_its_first_limits(state, tmp_path, calendar):
    config = KernelConfig(budget_usd=0.001, daily_budget_usd=0.0005, monthly_budget_usd=0.0008)
    economy = TokenEconomy.from_config(state, SystemClock(), unit_prices(tmp_path), config)
    (before,) = economy.states(["global"])
    assert [sums.limit_micro for sums in before.all_sums] == [1_000, 500, 800]
    spend(economy, 500)
    with pytest.raises(BudgetExceeded, match="this day"):
        economy.deduct("0.000001", "x")
    calendar.go_to("2026-11-29")
    economy.set_limit("global", None, window="day")
    with pytest.raises(BudgetExceeded, match="this month"):
        reserve(economy, 301)


def test_ends_of_windows():
    assert window_end("2026-12-31") == "2027-01-01T00:00Z"
    assert window_end("2026-12") == "2027-01-01T00:00Z"
    assert window_end("2024-02") == "2024-03-01T00:00Z"
    assert window_end("2026-04") == "2026-05-01T00:00Z"
    assert window_end("") == ""


def test_projects_that_were_limited_or_charged_are_known(economy):
    assert economy.known_scopes() == ["global"]
    economy.set_limit("project:b", 5)
    reserve(economy, 1, project="a")
    economy.set_limit("goal:g", 5)
    assert economy.known_scopes() == ["global", "project:a", "project:b"]


# alerts


def test_each_share_of_a_limit_is_told_once(economy, state):
    economy.set_limit("global", 1_000)
    spend(economy, 799)
    reserve(economy, 150)  # a promise is no use of the budget
    assert alerts_on_bus(state) == []
    spend(economy, 1)
    told = alerts_on_bus(state)
    assert told == [
        {"scope": "global", "window": "", "period": "", "share": 80, "charged_micro": 800,
         "limit_micro": 1_000, "goal_id": "g"},
    ]  # fmt: skip
    spend(economy, 50)
    assert len(alerts_on_bus(state)) == 1


def test_both_shares_are_told_when_one_charge_passes_both(economy, state):
    economy.set_limit("project:p", 1_000)
    spend(economy, 980)
    assert shares(alerts_on_bus(state)) == [("project:p", "", 80), ("project:p", "", 95)]


def test_a_doubt_a_reclaim_and_a_direct_charge_tell_too(economy, state):
    economy.set_limit("global", 1_000)
    call = reserve(economy, 800)
    economy.mark_sent(call)
    state.hset(keys.reservation(call), "at", "1.0")
    economy.reclaim()
    assert shares(alerts_on_bus(state)) == [("global", "", 80)]
    economy.deduct("0.00015", "x")
    assert shares(alerts_on_bus(state))[1:] == [("global", "", 95)]
    economy.settle(call, usage=used(0))  # the doubt is gone, and comes again
    spend(economy, 850)
    assert len(alerts_on_bus(state)) == 2


def test_a_new_window_and_a_raised_limit_tell_again(economy, state, calendar):
    economy.set_limit("global", 1_000, window="day")
    spend(economy, 900)
    calendar.go_to(MORNING)
    spend(economy, 900)
    assert [(a["share"], a["period"]) for a in alerts_on_bus(state)] == [
        (80, EVENING), (80, MORNING),
    ]  # fmt: skip
    economy.set_limit("global", 2_000, window="day")
    spend(economy, 700)
    assert len(alerts_on_bus(state)) == 3
    economy.set_limit("global", 1_650, window="day")
    assert shares(alerts_on_bus(state))[3:] == [("global", "day", 95)]


def test_a_settlement_sent_twice_tells_once(economy, state, redis_server, tmp_path):
    from tests.kernel.test_goals_run import Repeating

    with Repeating.from_url(f"{redis_server}/2") as client:
        twice = an_economy(client, tmp_path)
        twice.set_limit("global", 1_000)
        spend(twice, 999)
    assert len(alerts_on_bus(state)) == 2


def test_subscribers_of_the_process_hear_of_it_and_the_stream_has_it_once(state, tmp_path):
    bus, heard = EventBus(state), []
    bus.subscribe(Topic.BUDGET_LOW, lambda _, data: heard.append(data))
    economy = TokenEconomy(state, SystemClock(), unit_prices(tmp_path), limit_micro=1_000, bus=bus)
    spend(economy, 850)
    assert heard == alerts_on_bus(state)
    assert [(e.topic, e.data["share"]) for e in bus.read()] == [("BUDGET_LOW", 80)]


def test_strange_names_are_whole_on_the_bus(economy, state):
    name = 'a"\\b'
    economy.set_limit(f"project:{name}", 100)
    spend(economy, 90, project=name)
    assert shares(alerts_on_bus(state)) == [(f"project:{name}", "", 80)]


# what still fits


def fitting(economy, size=0, **more):
    return economy.affordable_max_tokens("unit", size, project="p", goal_id="g", **more)


def test_money_the_tokens_that_still_fit_follow_the_narrowest_limit(economy, state):
    assert fitting(economy) is None
    economy.set_limit("global", 10_000)
    assert fitting(economy) == 10_000 - OVERHEAD_TOKENS
    assert fitting(economy, 500) == 9_500 - OVERHEAD_TOKENS
    assert fitting(economy, 500, goal_budget_micro=5_000) == 4_500 - OVERHEAD_TOKENS
    assert fitting(economy, cache_1h=True) == 10_000 - 2 * OVERHEAD_TOKENS
    economy.set_limit("project:p", 3_000, window="day")
    assert fitting(economy) == 3_000 - OVERHEAD_TOKENS
    economy.set_limit("goal:g", 2_000)
    assert fitting(economy, goal_budget_micro=9_999) == 2_000 - OVERHEAD_TOKENS
    assert fitting(economy, 2_000) == 0
    assert economy.reservations() == []
    reserve(economy, economy.prices.bound("unit", 100, fitting(economy, 100)))
    with pytest.raises(BudgetExceeded):
        reserve(economy, 1)


def test_what_fits_of_an_unknown_model_is_an_error(economy):
    with pytest.raises(UnknownModel):
        economy.affordable_max_tokens("nope", 1, project="p", goal_id="g")


# goals


def test_money_a_call_that_outlives_its_goals_record_leaves_no_scope_behind(economy, state):
    call = reserve(economy, 100)
    economy.mark_sent(call)
    economy.in_doubt(call)
    state.delete(keys.scope_budget("goal:g"))
    economy.settle(call, usage=used(40))
    assert not state.exists(keys.scope_budget("goal:g"))
    assert economy.scope("global")["spent"] == 40
