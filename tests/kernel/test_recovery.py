"""Goals whose run died or whose message is gone go on; those in line are left alone."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import keys, recovery, wire
from llmos_workers.kernel.broker import held, restore, task_ids
from llmos_workers.kernel.recovery import BUDGET_SECS, Recovered, Recovery
from llmos_workers.kernel.sweep import WINDOW
from tests.kernel.goal_support import a_goal, expire_lease
from tests.kernel.recovery_support import GRACE, System

S = GoalState
NOTHING = Recovered()


@pytest.fixture
def whole_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick looks on until there is nothing left to see, however busy the machine is."""
    monkeypatch.setattr(recovery, "BUDGET_SECS", 60.0)


# -- lost messages ---------------------------------------------------------------------------


def test_ten_thousand_waiting_goals_are_left_alone_and_the_one_without_a_message_is_found(
    system: System,
) -> None:
    """0 of 10,000 sent again; then exactly the one whose message was deleted, in a few ticks."""
    records = [r for p in (1, 2, 3) for r in system.submit(3_334 if p == 1 else 3_333, priority=p)]
    assert system.search() == NOTHING
    victim = records[5_000]
    name, _ = wire.goal_message(victim)
    (message,) = [m for m in system.broker.lrange(name, 0, -1) if victim.goal_id.encode() in m]
    system.broker.lrem(name, 1, message)
    assert system.search() == Recovered(lost=1)
    assert sorted(system.queued()) == sorted(r.goal_id for r in records)
    assert system.search() == NOTHING
    assert system.notices(victim.goal_id) == ["its message was lost; it is sent again"]
    assert system.count("recovery.lost") == 1


def test_a_tick_is_bounded_whatever_waits(system: System) -> None:
    """It runs between a worker's deliveries."""
    system.submit(5_000)
    slowest = 0.0
    for _ in range(8):
        start = time.thread_time()
        system.recovery.work()
        slowest = max(slowest, time.thread_time() - start)
    assert slowest < BUDGET_SECS * 4


def test_messages_that_move_during_the_search_are_not_lost(system: System) -> None:
    """Between the windows new goals are pushed, old ones taken, given back, and finished."""
    system.submit(4 * WINDOW)
    sweep, moves = system.recovery._sweep, 0
    while not moves or system.state.hexists(keys.RECOVERY_STATE, "step"):
        # What was acquired may be handed out; its record says that it is in no need.
        assert system.recovery._send_again(sweep.go_on(0)) == 0
        system.submit(10)
        taken = [system.take() for _ in range(50)]
        for each in taken[:20]:
            system.goals.acquire(each["headers"]["id"], owner="w")
            system.acknowledge(each)
        for each in taken[20:30]:  # requeued by a worker that drains
            system.acknowledge(each)
            system.broker.lpush("dispatch\x06\x163", json.dumps(each))
        moves += 1
    assert moves > 4
    assert system.search() == NOTHING


def test_what_a_worker_holds_is_not_lost(system: System) -> None:
    system.submit(3)
    for _ in range(3):
        system.take()
    assert system.search() == NOTHING


@pytest.mark.usefixtures("whole_ticks")
def test_a_message_taken_as_the_search_ends_is_not_lost(system: System) -> None:
    """Between taking a message and saying so a worker needs a moment."""
    system.submit(1)
    taken = system.broker.rpop("dispatch\x06\x163")
    assert system.recovery.work() == NOTHING  # the look through the lists is over
    system.broker.lpush("dispatch\x06\x163", taken)
    system.take()
    assert system.recovery.work() == NOTHING
    assert not system.state.hexists(keys.RECOVERY_STATE, "step")


def test_a_delivery_that_comes_back_behind_the_search_is_not_lost(system: System) -> None:
    """A dead worker's message goes to the old end of its list, which was read already."""
    system.submit(2 * WINDOW)
    message = system.take()
    while int(system.state.hget(keys.RECOVERY_STATE, "step") or 0) <= len(system.recovery._lists):
        assert system.recovery.work() == NOTHING
        if not system.state.hexists(keys.RECOVERY_STATE, "step"):
            break
    system.acknowledge(message)
    system.broker.rpush("dispatch\x06\x163", json.dumps(message))
    assert system.recovery.work() == NOTHING
    assert system.recovery.work() == NOTHING


def test_the_record_has_the_last_word(system: System) -> None:
    """What changed since it was looked at is left alone, whatever was seen."""
    (record,) = system.submit(1)
    change = system.recovery._change
    assert change("lost", record.goal_id, "why", ("1.5", GRACE)) is None
    assert change("reclaim", record.goal_id, "why", ("ACCEPTED",)) is None
    system.goals.acquire(record.goal_id, owner="w")
    assert change("reclaim", record.goal_id, "why", ("ACCEPTED",)) is None
    assert change("lost", record.goal_id, "why", ("1.5", GRACE)) is None
    assert change("lost", "nobody", "why", ("1.5", GRACE)) is None
    assert system.notices(record.goal_id) == []


@pytest.mark.usefixtures("whole_ticks")
def test_a_goal_that_moved_on_meanwhile_is_not_sent_again(system: System) -> None:
    (record,) = system.submit(1)
    system.broker.flushdb()
    assert system.recovery.work() == NOTHING
    system.goals.transition(record.goal_id, S.DISPATCHED)
    assert system.search() == NOTHING


@pytest.mark.usefixtures("whole_ticks")
def test_young_goals_are_not_looked_for(system: System) -> None:
    system.submit(5, age=GRACE / 2)
    system.broker.flushdb()
    assert system.recovery.work() == NOTHING
    assert not system.state.exists(keys.RECOVERY_SUSPECTS)


def test_a_client_that_died_between_record_and_message_loses_nothing(system: System) -> None:
    (record,) = system.submit(1, priority=3)
    system.broker.flushdb()
    assert system.search() == Recovered(lost=1)
    assert system.broker.llen(wire.list_name("dispatch", 3)) == 1
    assert system.goals.get(record.goal_id).state is S.ACCEPTED


def test_a_lost_hop_is_dispatched_again(system: System) -> None:
    (record,) = system.submit(1)
    system.broker.flushdb()
    system.goals.transition(record.goal_id, S.DISPATCHED)
    system.state.zadd(keys.goals_in_state(S.DISPATCHED), {record.goal_id: 1})
    assert system.search() == Recovered(lost=1)
    assert system.queued() == [record.goal_id]


def test_a_message_lost_again_and_again_is_sent_ever_more_slowly(system: System) -> None:
    (record,) = system.submit(1)

    def lost_after(age: float) -> int:
        system.broker.flushdb()
        state = system.goals.state(record.goal_id)
        at = system.state.time()[0] - age
        system.state.zadd(keys.goals_in_state(state), {record.goal_id: at})
        return system.search().lost

    assert lost_after(GRACE + 1) == 1
    assert lost_after(GRACE + 1) == 0
    assert lost_after(2 * GRACE + 1) == 1
    assert lost_after(2 * GRACE + 1) == 0
    for _ in range(10):
        assert lost_after(8 * GRACE + 1) == 1


def test_a_goal_that_ran_is_looked_for_as_soon_as_a_new_one(system: System) -> None:
    """What was lost before its run says nothing of what is lost after it."""
    (record,) = system.submit(1)
    for _ in range(3):
        system.broker.flushdb()
        system.state.zadd(keys.goals_in_state(S.ACCEPTED), {record.goal_id: 1})
        assert system.search().lost == 1
    lease, _ = system.goals.acquire(record.goal_id, owner="a", ttl_s=30)
    system.goals.release(lease, state=S.DISPATCHED)
    system.broker.flushdb()
    at = system.state.time()[0] - GRACE - 1
    system.state.zadd(keys.goals_in_state(S.DISPATCHED), {record.goal_id: at})
    assert system.search().lost == 1


def test_all_messages_gone_at_once_come_back(system: System) -> None:
    records = system.submit(450)
    system.broker.flushdb()
    assert system.search() == Recovered(lost=450)
    assert sorted(system.queued()) == sorted(r.goal_id for r in records)


@pytest.mark.usefixtures("whole_ticks")
def test_an_abandoned_search_begins_anew(system: System) -> None:
    """What it saw has moved: its list of suspects is of no use."""
    system.submit(2)
    system.broker.flushdb()
    assert system.recovery.work() == NOTHING
    assert 0 < system.state.ttl(keys.RECOVERY_SUSPECTS) <= 30
    system.state.delete(keys.RECOVERY_SUSPECTS, keys.RECOVERY_PAUSE)  # as if both expired
    assert system.recovery.work() == NOTHING
    assert system.recovery.work() == Recovered(lost=2)


@pytest.mark.usefixtures("whole_ticks")
def test_between_two_searches_there_is_a_pause(system: System) -> None:
    system.submit(1)
    system.search()
    system.broker.flushdb()
    assert system.recovery.work() == NOTHING
    assert system.recovery.work() == NOTHING
    assert 0 < system.state.pttl(keys.RECOVERY_PAUSE) <= GRACE * 500


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)))
def test_each_message_names_its_task_whatever_its_texts_say(ids: list[str]) -> None:
    messages = [wire.goal_message(a_goal('say "id": "other"'))[1].decode() for _ in ids]
    named = []
    for message, goal_id in zip(messages, ids, strict=True):
        parsed = json.loads(message)
        parsed["headers"]["id"] = goal_id
        named.append(json.dumps(parsed).encode())
        named.append(json.dumps([parsed, "", "dispatch"]).encode())
    assert task_ids(named) == set(ids)


# -- runs that died --------------------------------------------------------------------------


def test_a_dead_run_s_own_message_goes_back_to_its_queue(system: System) -> None:
    """With what only the message knows: its hop, callbacks, steps already taken."""
    (record,) = system.submit(1)
    message = system.take()
    message["properties"]["delivery_info"]["routing_key"] = "llm"
    message["extra"] = "steps done"
    tag = message["properties"]["delivery_tag"]
    system.broker.hset("unacked", tag, json.dumps([message, "", "llm"]))
    system.run_dies(record.goal_id)
    assert system.recovery.work() == Recovered(died=1)
    assert system.goals.get(record.goal_id).state is S.DISPATCHED
    back = json.loads(system.broker.rpop("llm\x06\x163"))
    assert (back["headers"]["id"], back["extra"]) == (record.goal_id, "steps done")
    assert back["headers"]["redelivered"]
    assert (system.broker.hlen("unacked"), system.broker.zcard("unacked_index")) == (0, 0)
    assert system.notices(record.goal_id) == ["the run on host:1:1 died; the goal starts again"]
    assert system.count("recovery.died") == 1
    assert system.recovery.work() == NOTHING


def test_a_delivery_is_given_back_once(system: System) -> None:
    (record,) = system.submit(1)
    system.take()
    delivery = held(system.broker, [record.goal_id])[record.goal_id]
    assert restore(system.broker, delivery)
    assert not restore(system.broker, delivery)
    assert system.queued() == [record.goal_id]


def test_of_several_deliveries_the_oldest_is_given_back(system: System) -> None:
    (record,) = system.submit(1)
    wire.publish(system.broker, [record])
    old, _new = system.take(stamped=100), system.take(stamped=200)
    found = held(system.broker, [record.goal_id, "another"])
    assert found[record.goal_id].tag == old["properties"]["delivery_tag"]
    assert list(found) == [record.goal_id]


def test_a_dead_run_without_a_message_is_dispatched_again(system: System) -> None:
    (record,) = system.submit(1, priority=1)
    system.broker.flushdb()
    system.run_dies(record.goal_id)
    assert system.recovery.work() == Recovered(died=1)
    assert system.goals.get(record.goal_id).state is S.ACCEPTED
    assert system.broker.llen("dispatch") == 1
    lease, again = system.goals.acquire(record.goal_id, owner="w2")
    assert (lease.fence, again.deliveries) == (2, 2)


def test_a_duplicate_that_waits_for_its_time_is_left_with_its_worker(system: System) -> None:
    (record,) = system.submit(1)
    message = system.take()
    message["headers"]["eta"] = "2030-01-01T00:00:00+00:00"
    tag = message["properties"]["delivery_tag"]
    system.broker.hset("unacked", tag, json.dumps([message, "", "dispatch"]))
    system.run_dies(record.goal_id)
    assert system.recovery.work() == Recovered(died=1)
    assert system.broker.hexists("unacked", tag)
    assert system.queued() == [record.goal_id]


def test_a_live_run_is_left_alone(system: System) -> None:
    (record,) = system.submit(1)
    lease, _ = system.goals.acquire(record.goal_id, owner="w")
    assert system.search() == NOTHING
    system.goals.renew(lease)


def test_a_dead_run_may_write_nothing_more(system: System) -> None:
    from llmos_workers.contracts.errors import LeaseLost

    (record,) = system.submit(1)
    lease, _ = system.goals.acquire(record.goal_id, owner="w")
    expire_lease(system.state, record.goal_id)
    system.recovery.work()
    with pytest.raises(LeaseLost):
        system.goals.append_journal(lease, b"late")


def test_every_dead_run_is_found_among_many_live_ones(system: System) -> None:
    from llmos_workers.kernel import recovery as module

    records = system.submit(30)
    for record in records:
        system.goals.acquire(record.goal_id, owner="w")
    for record in records[::3]:
        expire_lease(system.state, record.goal_id)
    window, most = module.RUNNING_WINDOW, module.MOST_DIED
    module.RUNNING_WINDOW, module.MOST_DIED = 4, 2
    try:
        assert sum(system.recovery.work().died for _ in range(20)) == 10
    finally:
        module.RUNNING_WINDOW, module.MOST_DIED = window, most
    assert sorted(system.in_state(S.ACCEPTED)) == sorted(r.goal_id for r in records[::3])


def test_a_poison_goal_is_given_up(system: System) -> None:
    """After max_deliveries starts; its message is sent once more so that a task tells the chord."""
    (record,) = system.submit(1)
    system.broker.flushdb()
    for _ in range(4):
        system.run_dies(record.goal_id)
        assert system.recovery.work() == Recovered(died=1)
    system.run_dies(record.goal_id)
    system.broker.flushdb()
    assert system.recovery.work() == Recovered(dead=1)
    stored = system.goals.get(record.goal_id)
    assert stored.state is S.DEAD
    assert stored.outcome is not None
    assert stored.outcome.error is not None
    assert "5 starts" in stored.outcome.error.message
    assert system.queued() == [record.goal_id]
    assert system.count("recovery.dead") == 1
    assert system.search() == NOTHING


def test_a_cancelled_goal_whose_run_died_ends_as_cancelled(system: System) -> None:
    from llmos_workers.contracts.errors import GoalFinished

    (record,) = system.submit(1)
    system.run_dies(record.goal_id)
    system.goals.request_cancel(record.goal_id)
    assert system.recovery.work() == Recovered(died=1)
    with pytest.raises(GoalFinished):
        system.goals.acquire(record.goal_id, owner="w")
    assert system.goals.state(record.goal_id) is S.CANCELLED


# -- the lock --------------------------------------------------------------------------------


def test_one_process_at_a_time_and_the_next_soon_after_it_dies(system: System) -> None:
    from llmos_workers.config import KernelConfig

    other = Recovery(system.state, system.broker, KernelConfig())
    assert system.recovery.tick() == NOTHING
    assert other.tick() is None
    assert 0 < system.state.pttl(keys.RECOVERY_LOCK) <= 1000
    system.state.delete(keys.RECOVERY_LOCK)  # as if it expired
    assert other.tick() == NOTHING


@pytest.mark.parametrize("before", [S.ACCEPTED, S.PARKED])
def test_a_goal_cancelled_outside_of_a_task_is_reported_even_if_its_message_is_lost(system, before):
    (record,) = system.submit()
    if before is not S.ACCEPTED:
        system.goals.transition(record.goal_id, before)
    system.broker.flushdb()
    system.goals.request_cancel(record.goal_id)
    assert system.search().lost == 0, "not before the grace is over"
    assert system.queued() == []
    past = system.state.time()[0] - 2 * GRACE
    system.state.zadd(keys.UNREPORTED, {record.goal_id: past})
    system.search()
    assert system.queued() == [record.goal_id]
    system.state.zadd(keys.UNREPORTED, {record.goal_id: past})
    system.search()
    assert system.queued() == [record.goal_id], "its message is there"
    system.goals.reported(record.goal_id)
    assert not system.state.exists(keys.UNREPORTED)


def test_what_was_forgotten_or_lives_needs_no_report(system):
    (live,) = system.submit()
    system.broker.flushdb()
    past = system.state.time()[0] - 2 * GRACE
    system.state.zadd(keys.UNREPORTED, {"forgotten": past, live.goal_id: past})
    system.search()
    assert not system.state.exists(keys.UNREPORTED)
