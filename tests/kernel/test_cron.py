"""When expressions fire: months' ends, moved clocks, misfires."""

from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel.cron import Misfire, due, fires, next_fire, parse_cron, parse_zone

VIENNA, NEW_YORK, LORD_HOWE = map(
    ZoneInfo, ("Europe/Vienna", "America/New_York", "Australia/Lord_Howe")
)


def at(text, zone=UTC, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def firings(cron, zone, after, count):
    return list(islice(fires(cron, zone, after), count))


def local(cron, zone, after, count):
    moments = firings(cron, zone, after, count)
    return [datetime.fromtimestamp(m, zone).strftime("%d %H:%M") for m in moments]


def test_the_last_day_of_each_month():
    assert local("0 18 L * *", UTC, at("2028-01-31T18:00"), 4) == [
        "29 18:00", "31 18:00", "30 18:00", "31 18:00",
    ]  # fmt: skip
    assert local("0 0 31 * *", UTC, at("2027-01-31T00:00"), 2) == ["31 00:00", "31 00:00"]


def test_the_29th_of_february_waits_for_its_year():
    assert next_fire("0 0 29 2 *", UTC, at("2028-02-29T00:00")) == at("2032-02-29T00:00")


def test_a_minute_that_the_clock_skips_fires_when_there_is_one_again():
    # 2027-03-28 02:00 -> 03:00
    found = local("30 2 * * *", VIENNA, at("2027-03-27T12:00", VIENNA), 2)
    assert found == ["28 03:00", "29 02:30"]


def test_a_minute_that_comes_twice_fires_once():
    # 2027-10-31 03:00 -> 02:00
    start = at("2027-10-30T12:00", VIENNA)
    assert local("30 2 * * *", VIENNA, start, 2) == ["31 02:30", "01 02:30"]
    between = at("2027-10-31T02:10", VIENNA, fold=1)
    assert next_fire("30 2 * * *", VIENNA, between) == at("2027-11-01T02:30", VIENNA)


def test_steps_follow_real_time_where_the_clock_is_moved():
    start = at("2027-11-07T00:59", NEW_YORK)
    moments = firings("*/30 * * * *", NEW_YORK, start, 6)
    assert {b - a for a, b in pairwise(moments)} == {1_800.0}


def test_nine_in_the_morning_stays_nine_in_the_morning():
    start = at("2027-03-26T12:00", VIENNA)
    assert local("0 9 * * *", VIENNA, start, 3) == ["27 09:00", "28 09:00", "29 09:00"]


@pytest.mark.parametrize("wrong", ["", "* * * *", "61 * * * *", "0 0 30 2 *", "* * * * * *",
                                   "@never", "x y z a b", "* " * 200])  # fmt: skip
def test_what_is_no_expression_is_refused(wrong):
    with pytest.raises(InvalidOption):
        parse_cron(wrong)


@pytest.mark.parametrize("wrong", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "/etc/passwd"])
def test_what_is_no_zone_is_refused(wrong):
    with pytest.raises(InvalidOption):
        parse_zone(wrong)


def test_names_stand_for_expressions():
    assert parse_cron("@Daily") == "0 0 * * *"
    assert parse_cron(" 0  9 * * MON ") == "0 9 * * MON"


def test_misfires_by_policy():
    first, now = at("2027-01-01T00:00"), at("2027-01-01T05:30")
    hourly = ("0 * * * *", UTC)
    assert due(*hourly, Misfire.ALL, first, now) == (
        [first + 3_600 * n for n in range(6)], at("2027-01-01T06:00"),
    )  # fmt: skip
    assert due(*hourly, Misfire.ONCE, first, now) == (
        [at("2027-01-01T05:00")], at("2027-01-01T06:00"),
    )  # fmt: skip
    assert due(*hourly, Misfire.SKIP, first, now) == ([], at("2027-01-01T06:00"))
    assert due(*hourly, Misfire.SKIP, first, first + 30)[0] == [first]
    assert due(*hourly, Misfire.ALL, first, now, most=2) == (
        [first, first + 3_600], first + 7_200,
    )  # fmt: skip
    assert due(*hourly, Misfire.ONCE, first, first - 1) == ([], first)


def test_years_of_missed_minutes_are_made_up_for_at_once():
    first, now = at("2020-01-01T00:00"), at("2027-01-01T00:00:30")
    assert due("* * * * *", UTC, Misfire.ONCE, first, now)[0] == [at("2027-01-01T00:00")]
    assert due("0 0 29 2 *", UTC, Misfire.ONCE, at("2020-02-29T00:00"), now)[0] == [
        at("2024-02-29T00:00")
    ]


CRONS = st.sampled_from(["30 2 * * *", "15,45 1-3 * * *", "*/20 * * * *", "0 0 L * *", "5 * * * *"])
ZONES = st.sampled_from([UTC, VIENNA, NEW_YORK, LORD_HOWE])
MOVES = st.sampled_from([at("2027-03-28T00:00"), at("2027-10-31T00:00"), at("2027-11-07T04:00"),
                         at("2027-04-03T14:00"), at("2027-10-02T14:00")])  # fmt: skip


@given(CRONS, ZONES, MOVES, st.integers(-90_000, 90_000))
def test_firings_only_go_forward_and_do_not_depend_on_where_one_starts(cron, zone, move, offset):
    start = move + offset
    moments = firings(cron, zone, start, 12)
    assert all(a < b for a, b in zip([start, *moments], moments, strict=False))
    for one, following in pairwise(moments):
        assert next_fire(cron, zone, one) == following
        assert next_fire(cron, zone, one + (following - one) / 2) == following
