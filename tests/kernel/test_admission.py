"""Admission: no project keeps the others waiting, none runs more than its window."""

import itertools
import json
from collections import deque

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import GoalNotFound, InvalidOption
from llmos_workers.contracts.goal import GoalState, TaskEnvelope
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.admission import Admission
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.goal_support import a_goal, an_outcome, assert_indexes_right, states_in_stream

S = GoalState


@pytest.fixture
def goals(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def broker(redis_server):
    client = redis.Redis.from_url(f"{redis_server}/0")
    yield client
    client.close()


def admission(state, broker, goals, window=2):
    return Admission(state, broker, goals, window=window)


def submit(goals, broker, count, **options):
    records = [r for r, _ in goals.create_many([a_goal(**options) for _ in range(count)])]
    wire.publish(broker, records)
    return records


def take(broker):
    """The next message, as a worker takes it: its goal's id."""
    found = broker.rpop(wire.list_name("dispatch", 2))
    return found and json.loads(found)["headers"]["id"]


def messages(broker):
    return [json.loads(m)["headers"]["id"] for m in broker.lrange("dispatch\x06\x163", 0, -1)][::-1]


def end(goals, goal_id):
    goals.finish(an_outcome(goal_id), fence=None)


@pytest.mark.parametrize(
    ("count", "slots"), [(10_000, 1), (1_000, 1_000)], ids=["quick goals", "goals without end"]
)
def test_a_flood_of_one_project_does_not_starve_anothers_one(state, broker, goals, *, count, slots):
    window = 100
    gate = admission(state, broker, goals, window)
    known = {r.goal_id: r for r in submit(goals, broker, count, project="a")}
    (lone,) = submit(goals, broker, 1, project="b")
    known[lone.goal_id] = lone
    started, running = [], deque()
    for taken in itertools.count(1):
        goal_id = take(broker)
        if gate.admit(known[goal_id]):
            started.append(goal_id)
            running.append(goal_id)
        if goal_id == lone.goal_id:
            break
        if len(running) == slots:
            done = running.popleft()
            end(goals, done)
            gate.leave(done, "a")
        if taken % 500 == 0:
            gate.pump()
    assert started[-1] == lone.goal_id
    assert len(started) <= window + 1
    assert gate.waiting("a") + gate.under_way("a") >= count - window


def test_beyond_the_window_goals_park_and_go_on_in_order(state, broker, goals):
    gate = admission(state, broker, goals)
    records = submit(goals, broker, 5, project="a")
    assert [gate.admit(r) for r in records] == [True, True, False, False, False]
    states = [goals.state(r.goal_id) for r in records]
    assert states == [S.ACCEPTED] * 2 + [S.PARKED] * 3
    broker.flushdb()
    assert gate.pump() == 0
    end(goals, records[0].goal_id)
    assert gate.leave(records[0].goal_id, "a") == 1
    assert messages(broker) == [records[2].goal_id]
    assert states_in_stream(goals, records[2].goal_id) == ["ACCEPTED", "PARKED", "ACCEPTED"]
    assert gate.admit(goals.get(records[2].goal_id))
    assert_indexes_right(state, [goals.get(r.goal_id) for r in records])


def test_nothing_depends_on_saying_goodbye(state, broker, goals):
    gate = admission(state, broker, goals)
    records = submit(goals, broker, 6, project="a")
    for record in records[:4]:
        gate.admit(record)
    end(goals, records[0].goal_id)
    goals.transition(records[1].goal_id, S.WAITING_APPROVAL)
    assert gate.pump() == 2
    for record in records[2:4]:
        end(goals, record.goal_id)
    broker.flushdb()
    assert not gate.admit(records[4])
    # Nobody waited, and whoever ended is not counted: it goes on at the end of the queue.
    assert messages(broker) == [records[4].goal_id]
    assert gate.admit(goals.get(records[4].goal_id))
    assert gate.under_way("a") == 1


def test_who_comes_later_does_not_overtake(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    first, second, third = submit(goals, broker, 3, project="a")
    assert gate.admit(first)
    assert not gate.admit(second)
    end(goals, first.goal_id)
    assert not gate.admit(third)
    broker.flushdb()
    gate.pump()
    assert messages(broker) == [second.goal_id]


def test_priority_goes_first_among_those_that_wait(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    (first,) = submit(goals, broker, 1, project="a")
    late = [
        *submit(goals, broker, 1, project="a", priority=3),
        *submit(goals, broker, 1, project="a"),
    ]
    assert [gate.admit(r) for r in (first, *late)] == [True, False, False]
    end(goals, first.goal_id)
    gate.pump()
    assert goals.state(late[1].goal_id) is S.ACCEPTED
    assert goals.state(late[0].goal_id) is S.PARKED


def test_projects_take_turns_in_the_queue(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    for project in ("a", "b", "c"):
        gate.admit(submit(goals, broker, 1, project=project)[0])
        for record in submit(goals, broker, 3, project=project):
            assert not gate.admit(record)
    gate = admission(state, broker, goals, 4)
    broker.flushdb()
    assert gate.pump() == 9
    order = [goals.get(goal_id).project for goal_id in messages(broker)]
    assert [set(order[i : i + 3]) for i in (0, 3, 6)] == [{"a", "b", "c"}] * 3
    assert state.zcard(keys.ADMISSION_BACKLOG) == 0


def test_a_redelivered_message_changes_nothing(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    first, second = submit(goals, broker, 2, project="a")
    assert [gate.admit(first), gate.admit(first)] == [True, True]
    assert [gate.admit(second), gate.admit(goals.get(second.goal_id))] == [False, False]
    assert (gate.under_way("a"), gate.waiting("a")) == (1, 1)
    assert states_in_stream(goals, second.goal_id) == ["ACCEPTED", "PARKED"]


def test_a_parked_goal_goes_on_as_the_same_task(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    first, second = submit(goals, broker, 2, project="a")
    gate.admit(first)
    envelope = TaskEnvelope(group_id="g", group_index=3, chord={"task": "body"}, root_id="r")
    gate.admit(second, envelope=envelope)
    end(goals, first.goal_id)
    broker.flushdb()
    gate.pump()
    (raw,) = broker.lrange("dispatch\x06\x163", 0, -1)
    headers = json.loads(raw)["headers"]
    assert (headers["id"], headers["group"], headers["group_index"]) == (second.goal_id, "g", 3)
    assert goals.get(second.goal_id).envelope == envelope


def test_a_cancelled_goal_leaves_the_order(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    first, second, third = submit(goals, broker, 3, project="a")
    assert [gate.admit(r) for r in (first, second, third)] == [True, False, False]
    assert goals.request_cancel(second.goal_id) is S.CANCELLED
    end(goals, first.goal_id)
    assert gate.pump() == 1
    assert goals.state(third.goal_id) is S.ACCEPTED
    assert gate.admit(second)  # ended: not for admission to decide


def test_a_deadline_wakes_whoever_waits_for_a_turn_until_it_comes(state, broker, goals):
    gate = admission(state, broker, goals, 1)
    (first,) = submit(goals, broker, 1, project="a")
    (hasty,) = submit(goals, broker, 1, project="a", deadline=4e9)
    assert [gate.admit(first), gate.admit(hasty)] == [True, False]
    assert state.zscore(keys.DELAYED, hasty.goal_id) == 4e9
    end(goals, first.goal_id)
    assert gate.pump() == 1
    assert state.zcard(keys.DELAYED) == 0


def test_a_project_may_have_a_window_of_its_own(state, broker, goals):
    gate = admission(state, broker, goals, 100)
    gate.set_window("a", 1)
    first, second = submit(goals, broker, 2, project="a")
    assert [gate.admit(first), gate.admit(second)] == [True, False]
    gate.set_window("a", None)
    assert gate.pump() == 1
    for wrong in (0, -1, 10_001, True):
        with pytest.raises(InvalidOption):
            gate.set_window("a", wrong)


def test_an_unknown_goal_is_said(state, broker, goals):
    with pytest.raises(GoalNotFound):
        admission(state, broker, goals).admit(a_goal())


ACTS = ["submit a", "submit b", "take", "end", "pump", "cancel"]


@settings(max_examples=30, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    window=st.integers(1, 4),
    acts=st.lists(st.sampled_from(ACTS), max_size=60),
)  # fmt: skip
def test_never_more_than_the_window_and_nobody_is_left_behind(
    state, broker, goals, *, window, acts
):
    state.flushdb()
    broker.flushdb()
    gate, running, every = admission(state, broker, goals, window), [], []
    for act in [*acts, *["take", "end", "pump"] * 70]:
        if act.startswith("submit"):
            every += submit(goals, broker, 1, project=act[-1])
        elif act == "pump":
            gate.pump()
        elif act == "cancel" and every:
            goals.request_cancel(every[len(every) // 2].goal_id)
            running = [r for r in running if not goals.state(r.goal_id).final]
        elif act == "end" and running:
            record = running.pop(0)
            end(goals, record.goal_id)
            gate.leave(record.goal_id, record.project)
        elif act == "take" and (goal_id := take(broker)):
            record = goals.get(goal_id)
            if not record.state.final and gate.admit(record) and record not in running:
                running.append(record)
        for project in ("a", "b"):
            assert sum(r.project == project for r in running) <= window
    assert all(goals.state(record.goal_id).final for record in every)


def test_goals_with_the_same_key_take_turns_whatever_their_project(state, broker, goals):
    gate = admission(state, broker, goals, window=100)
    gate.set_window("printer", 1)
    first, second = (
        submit(goals, broker, 1, project=name, concurrency_key="printer")[0] for name in "ab"
    )
    (other,) = submit(goals, broker, 1, project="a")
    assert [gate.admit(record) for record in (first, second, other)] == [True, False, True]
    assert goals.state(second.goal_id) is GoalState.PARKED
    end(goals, first.goal_id)
    assert gate.leave(first.goal_id, first.lane) == 1
    assert goals.state(second.goal_id) is GoalState.ACCEPTED
    assert gate.admit(second)
