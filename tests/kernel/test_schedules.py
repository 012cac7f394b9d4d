"""Schedules: each firing one goal, whoever ticks and whoever dies."""

import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import InvalidGoal, InvalidOption, NotThere, UnknownAgent
from llmos_workers.contracts.payload import make_options
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.cron import Misfire, fires
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.schedules import Schedules, submitter

START = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


class FakeClock(SystemClock):
    at = START

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def schedules(state, clock):
    return Schedules(state, clock)


@pytest.fixture
def submit(state, redis_server, clock):
    broker = redis.Redis.from_url(f"{redis_server}/0")
    yield submitter(GoalStore(state, clock), broker, clock)
    broker.close()


class Seen:
    """Takes firings down."""

    def __init__(self):
        self.moments = []

    def __call__(self, schedule, moment):
        self.moments.append(moment)
        return f"goal-{int(moment)}"


def test_a_firing_becomes_a_goal_with_the_schedules_options(schedules, submit, state):
    options = make_options(project="p", budget_usd="0.5", priority=1)
    made = schedules.add("0 9 * * *", "Say hello", options=options, zone="Europe/Vienna")
    assert schedules.tick(START, submit) == 0
    nine = datetime(2027, 1, 1, 8, tzinfo=UTC).timestamp()
    assert made.next_at == nine
    assert schedules.tick(nine, submit) == 1
    (goal,) = GoalStore(state, SystemClock()).list()
    assert (goal.text, goal.project, goal.options.budget_micro) == ("Say hello", "p", 500_000)
    assert goal.options.metadata["fire_at"] == "2027-01-01T08:00:00Z"
    after = schedules.get(made.schedule_id)
    assert (after.fired, after.last_goal_id, after.last_at) == (1, goal.goal_id, nine)
    assert after.next_at == nine + 86_400


def test_the_goal_is_queued(schedules, submit, redis_server):
    schedules.add("* * * * *", "Say hello")
    schedules.tick(START + 61, submit)
    with redis.Redis.from_url(f"{redis_server}/0") as broker:
        assert broker.llen("dispatch\x06\x163") == 1


def test_many_workers_one_goal_per_firing(schedules, submit, state):
    schedules.add("* * * * *", "Say hello", misfire="all")
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for minute in range(1, 11):
            schedules.tick(START + 60 * minute, submit)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(GoalStore(state, SystemClock()).list(limit=100)) == 10
    assert schedules.list()[0].fired == 10


def test_a_tick_does_a_piece_and_the_next_goes_on(schedules):
    schedules.add("* * * * *", "Say hello", misfire="all")
    schedules.add("* * * * *", "Say hello", misfire="all")
    seen = Seen()
    counts = [schedules.tick(START + 600, seen, limit=7) for _ in range(4)]
    assert counts == [7, 7, 6, 0]
    assert sorted(seen.moments) == sorted([START + 60 * n for n in range(1, 11)] * 2)


def test_a_death_between_submitting_and_moving_on_makes_no_second_goal(schedules, submit, state):
    def dies(schedule, moment):
        submit(schedule, moment)
        raise ConnectionError

    schedules.add("* * * * *", "Say hello")
    with pytest.raises(ConnectionError):
        schedules.tick(START + 60, dies)
    assert schedules.tick(START + 61, submit) == 1
    assert schedules.tick(START + 62, submit) == 0
    assert len(GoalStore(state, SystemClock()).list()) == 1


def test_a_schedule_whose_goal_is_refused_says_so_and_goes_on(schedules):
    def refuses(schedule, moment):
        raise UnknownAgent("there is no agent 'x'.")

    made = schedules.add("* * * * *", "Say hello")
    assert schedules.tick(START + 60, refuses) == 0
    after = schedules.get(made.schedule_id)
    assert "no agent" in after.last_error
    assert after.next_at == START + 120
    schedules.tick(START + 120, Seen())
    assert schedules.get(made.schedule_id).last_error == ""


def test_a_paused_schedule_does_not_fire_and_makes_up_for_nothing(schedules, clock):
    made, seen = schedules.add("0 * * * *", "Say hello", misfire="all"), Seen()
    assert schedules.pause(made.schedule_id).next_at is None
    schedules.tick(START + 7_200, seen)
    clock.at = START + 9_000
    assert schedules.resume(made.schedule_id).next_at == START + 10_800
    schedules.tick(START + 10_800, seen)
    assert seen.moments == [START + 10_800]
    assert schedules.resume(made.schedule_id).next_at == START + 14_400


def test_pausing_or_removing_wins_over_a_tick_that_is_under_way(schedules, state):
    made = schedules.add("0 * * * *", "Say hello")

    def meanwhile(schedule, moment):
        schedules.pause(schedule.schedule_id)
        return "g"

    schedules.tick(START + 3_600, meanwhile)
    assert schedules.get(made.schedule_id).paused
    assert state.zscore(keys.SCHEDULES_DUE, made.schedule_id) is None
    other = schedules.add("0 * * * *", "Say hello")

    def removes(schedule, moment):
        schedules.remove(schedule.schedule_id)
        return "g"

    schedules.tick(START + 3_600, removes)
    assert [one.schedule_id for one in schedules.list()] == [made.schedule_id]
    assert state.exists(keys.schedule(other.schedule_id)) == 0


def test_what_is_wrong_is_refused(schedules):
    with pytest.raises(InvalidOption):
        schedules.add("* * *", "Say hello")
    with pytest.raises(InvalidOption):
        schedules.add("* * * * *", "Say hello", zone="Nowhere")
    with pytest.raises(InvalidOption):
        schedules.add("* * * * *", "Say hello", misfire="maybe")
    with pytest.raises(InvalidGoal):
        schedules.add("* * * * *", " ")
    with pytest.raises(NotThere):
        schedules.remove("nothing")
    assert schedules.list() == []


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    cron=st.sampled_from(["*/7 * * * *", "0 * * * *", "30 2 * * *", "0,20 1-3 * * *"]),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York"]),
    misfire=st.sampled_from(list(Misfire)),
    start=st.sampled_from(["2027-03-27T20:00Z", "2027-10-30T20:00Z"]),
    ticks=st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=8),
)  # fmt: skip
def test_each_firing_at_most_once_and_exactly_once_with_all(
    state, clock, *, cron, zone, misfire, start, ticks
):
    state.flushdb()
    clock.at = datetime.fromisoformat(start).timestamp()
    schedules, seen = Schedules(state, clock), Seen()
    schedules.add(cron, "Say hello", zone=zone, misfire=misfire)
    for tick in ticks:  # in any order: clocks of a fleet differ
        schedules.tick(clock.at + tick, seen)
    while schedules.tick(clock.at + max(ticks), seen):
        pass  # a tick does a bounded piece
    wanted = []
    for moment in fires(cron, ZoneInfo(zone), clock.at):
        if moment > clock.at + max(ticks):
            break
        wanted.append(moment)
    assert len(set(seen.moments)) == len(seen.moments)
    assert set(seen.moments) <= set(wanted)
    if misfire is Misfire.ALL:
        assert seen.moments == wanted
    if misfire is Misfire.ONCE and wanted:
        assert wanted[-1] in seen.moments
