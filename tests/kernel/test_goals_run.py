"""What workers do: leases, fences, transitions, one outcome."""

from __future__ import annotations

import threading

import pytest
import redis

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import (
    GoalFinished,
    GoalNotFound,
    GoalStateError,
    IllegalTransition,
    LeaseHeld,
    LeaseLost,
)
from llmos_workers.contracts.goal import FINAL_STATES, WAITING_STATES, GoalState, TaskEnvelope
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.goal_support import (
    a_goal,
    an_outcome,
    assert_indexes_right,
    expire_lease,
    raw,
    states_in_stream,
)
from tests.support.wait import wait_until


@pytest.fixture
def store(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def goal(store):
    return store.create(a_goal())[0]


def test_acquire_gives_lease_and_record_in_one_answer(store, goal):
    lease, record = store.acquire(goal.goal_id, owner="w1", ttl_s=20, mode="LEARNER")
    assert (lease.goal_id, lease.owner, lease.fence) == (goal.goal_id, "w1", 1)
    assert 15 < lease.until - SystemClock().now() < 25
    assert record == store.get(goal.goal_id)
    assert (record.state, record.deliveries, record.fence) == (GoalState.RUNNING, 1, 1)
    assert (record.lease_owner, record.text) == ("w1", goal.text)
    assert record.lease_until == lease.until
    assert_indexes_right(store._redis, [record])


def test_a_duplicate_has_to_wait_for_the_holder(store, goal):
    store.acquire(goal.goal_id, owner="w1", ttl_s=20)
    for owner in ("w2", "w1"):
        with pytest.raises(LeaseHeld) as caught:
            store.acquire(goal.goal_id, owner=owner)
        assert 15 < caught.value.remaining <= 20


def test_only_one_of_many_racing_runs_gets_the_goal(store, goal, redis_server):
    won: list[int] = []

    def run(number):
        with redis.Redis.from_url(f"{redis_server}/2") as client:
            try:
                GoalStore(client, SystemClock()).acquire(goal.goal_id, owner=f"w{number}")
                won.append(number)
            except LeaseHeld:
                pass

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def writes(store, lease):
    """Every write of a run."""
    goal_id, fence = lease.goal_id, lease.fence
    return {
        "renew": lambda: store.renew(lease),
        "release": lambda: store.release(lease, state=GoalState.PARKED),
        "transition": lambda: store.transition(goal_id, GoalState.DISPATCHED, fence=fence),
        "decide": lambda: store.transition(goal_id, GoalState.RUNNING, fence=fence),
        "finish": lambda: store.finish(an_outcome(goal_id), fence=fence),
        "journal": lambda: store.append_journal(lease, b"late"),
        "emit": lambda: store.emit(goal_id, "notice", {"message": "late"}, fence=fence),
    }


WRITES = ("renew", "release", "transition", "decide", "finish", "journal", "emit")


def snapshot(client, goal_id):
    return (
        client.hgetall(keys.goal(goal_id)),
        client.lrange(keys.goal_journal(goal_id), 0, -1),
        client.xrange(keys.goal_events(goal_id)),
    )


@pytest.mark.parametrize("write", WRITES)
def test_no_late_writes_after_another_run_took_over(store, state, goal, write):
    lease, _ = store.acquire(goal.goal_id, owner="old")
    expire_lease(state, goal.goal_id)
    newer, _ = store.acquire(goal.goal_id, owner="new")
    assert newer.fence == lease.fence + 1
    before = snapshot(state, goal.goal_id)
    with pytest.raises(LeaseLost):
        writes(store, lease)[write]()
    assert snapshot(state, goal.goal_id) == before


@pytest.mark.parametrize("write", WRITES)
def test_no_late_writes_past_the_leases_time_even_with_no_successor(store, state, goal, write):
    lease, _ = store.acquire(goal.goal_id, owner="sleeper")
    expire_lease(state, goal.goal_id)
    before = snapshot(state, goal.goal_id)
    with pytest.raises(LeaseLost):
        writes(store, lease)[write]()
    assert snapshot(state, goal.goal_id) == before


@pytest.mark.parametrize("write", [w for w in WRITES if w != "finish"])
def test_no_late_writes_to_a_finished_goal(store, state, goal, write):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    store.finish(an_outcome(goal.goal_id), fence=lease.fence)
    before = snapshot(state, goal.goal_id)
    with pytest.raises(GoalFinished):
        writes(store, lease)[write]()
    assert snapshot(state, goal.goal_id) == before


def test_no_late_writes_by_another_owner_with_the_same_fence(store, state, goal):
    lease, _ = store.acquire(goal.goal_id, owner="one")
    state.hset(keys.goal(goal.goal_id), "lease_owner", "two")  # as after a lost tail of the AOF
    with pytest.raises(LeaseLost):
        store.append_journal(lease, b"x")


def test_nothing_lost_only_the_first_outcome_is_stored(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    first = an_outcome(goal.goal_id, GoalState.PARTIAL, "first")
    assert store.finish(first, fence=lease.fence) == first
    for status in sorted(FINAL_STATES):
        second = an_outcome(goal.goal_id, status, "second")
        assert store.finish(second, fence=lease.fence) == first
        assert store.finish(second, fence=None) == first
    assert store.outcome(goal.goal_id) == first
    assert states_in_stream(store, goal.goal_id) == ["ACCEPTED", "RUNNING", "PARTIAL"]


def test_racing_ends_of_a_goal_agree_on_one_outcome(store, goal, redis_server):
    stored = []

    def end(number):
        with redis.Redis.from_url(f"{redis_server}/2") as client:
            mine = GoalStore(client, SystemClock())
            if number % 2:
                mine.request_cancel(goal.goal_id)
                stored.append(mine.outcome(goal.goal_id))
            else:
                outcome = an_outcome(goal.goal_id, GoalState.REJECTED, str(number))
                stored.append(mine.finish(outcome, fence=None))

    threads = [threading.Thread(target=end, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == 10
    assert all(outcome == store.outcome(goal.goal_id) for outcome in stored)
    assert_indexes_right(store._redis, store.list())


def test_whoever_has_no_lease_cannot_disturb_a_live_run(store, goal):
    store.acquire(goal.goal_id, owner="w")
    with pytest.raises(LeaseHeld):
        store.transition(goal.goal_id, GoalState.ACCEPTED)
    with pytest.raises(LeaseHeld):
        store.finish(an_outcome(goal.goal_id, GoalState.DEAD), fence=None)
    assert store.state(goal.goal_id) is GoalState.RUNNING


def test_a_dead_run_can_be_taken_back_and_is_fenced_off(store, state, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    expire_lease(state, goal.goal_id)
    store.transition(goal.goal_id, GoalState.ACCEPTED)
    record = store.get(goal.goal_id)
    assert (record.state, record.lease_owner, record.lease_until) == ("ACCEPTED", None, None)
    with pytest.raises(LeaseLost):
        store.renew(lease)


@pytest.mark.parametrize("waiting", sorted(WAITING_STATES))
def test_waiting_holds_no_lease_and_goes_on_later(store, goal, waiting):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    store.release(lease, state=waiting, event={"why": "queue"})
    assert store.events(goal.goal_id)[-1].data == {"state": waiting.value, "why": "queue"}
    assert store.get(goal.goal_id).lease_owner is None
    again, record = store.acquire(goal.goal_id, owner="v")
    assert (again.fence, record.deliveries) == (2, 2)


def test_a_stray_message_can_be_kept_from_starting_a_waiting_goal(store, goal):
    store.transition(goal.goal_id, GoalState.WAITING_APPROVAL)
    with pytest.raises(IllegalTransition, match="WAITING_APPROVAL"):
        store.acquire(goal.goal_id, owner="w", only_from={GoalState.ACCEPTED})
    assert store.get(goal.goal_id).deliveries == 0


def test_decision_and_envelope_are_stored_with_the_transition(store, goal):
    decision = ModeDecision(mode=Mode.LEARNER, reason="nothing like it", confidence=0.3)
    envelope = TaskEnvelope(queue="llm", group_id="g", group_index=0, chord={"task": "join"})
    store.transition(goal.goal_id, GoalState.DISPATCHED, decision=decision, envelope=envelope)
    lease, record = store.acquire(goal.goal_id, owner="w")
    assert (record.decision, record.envelope) == (decision, envelope)
    changed = decision.model_copy(update={"mode": Mode.MIXED})
    store.transition(goal.goal_id, GoalState.RUNNING, fence=lease.fence, decision=changed)
    assert store.get(goal.goal_id).decision == changed
    store.renew(lease)


def test_a_goal_runs_only_by_acquire_and_ends_only_by_finish(store, goal):
    with pytest.raises(IllegalTransition, match="acquire"):
        store.transition(goal.goal_id, GoalState.RUNNING)
    with pytest.raises(IllegalTransition, match="finish"):
        store.transition(goal.goal_id, GoalState.FAILED)
    with pytest.raises(IllegalTransition, match="final"):
        store.finish(an_outcome(goal.goal_id, GoalState.PARKED), fence=None)
    store.transition(goal.goal_id, GoalState.PARKED)
    with pytest.raises(IllegalTransition, match="PARKED"):
        store.transition(goal.goal_id, GoalState.WAITING_RATE)


def test_a_redelivered_message_is_dispatched_again(store, goal):
    first, second = (ModeDecision(mode=Mode.LEARNER, reason=why) for why in "ab")
    for decision in (first, second):
        store.transition(goal.goal_id, GoalState.DISPATCHED, decision=decision)
    assert store.get(goal.goal_id).decision == second
    assert_indexes_right(store._redis, store.list())


def test_a_cancel_asked_for_in_mid_run_wins_over_waiting(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    assert store.request_cancel(goal.goal_id) is GoalState.RUNNING
    assert store.cancel_requested(goal.goal_id)
    assert store.append_journal(lease, b"still mine") == 1
    with pytest.raises(GoalFinished, match="CANCELLED"):
        store.release(lease, state=GoalState.WAITING_RATE)
    assert store.outcome(goal.goal_id).status == "CANCELLED"
    assert store.get(goal.goal_id).lease_owner is None


def test_a_run_that_was_faster_than_the_cancel_keeps_its_outcome(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    store.request_cancel(goal.goal_id)
    assert store.finish(an_outcome(goal.goal_id), fence=lease.fence).ok


def test_journal_entries_are_kept_in_order_and_binary(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    entries = [bytes([n, 0, 255]) for n in range(5)]
    assert [store.append_journal(lease, e) for e in entries] == [1, 2, 3, 4, 5]
    assert store.journal(goal.goal_id) == entries


def test_events_can_be_rejoined_from_any_id(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    for n in range(10):
        fence = lease.fence if n % 2 else None
        store.emit(goal.goal_id, "text", {"text": f"{n}"}, fence=fence)
    everything = store.events(goal.goal_id)
    assert [e.data.get("text") for e in everything[2:]] == [f"{n}" for n in range(10)]
    for i, event in enumerate(everything):
        assert store.events(goal.goal_id, after=event.event_id) == everything[i + 1 :]
    assert store.events(goal.goal_id, count=3) == everything[:3]


def test_a_reader_who_waits_gets_the_event_that_comes(store, goal, redis_server):
    last = store.events(goal.goal_id)[-1].event_id
    got = []

    def read():
        with redis.Redis.from_url(f"{redis_server}/2") as client:
            mine = GoalStore(client, SystemClock())
            while not got:
                got.extend(mine.events(goal.goal_id, after=last, block_ms=500))

    thread = threading.Thread(target=read)
    thread.start()
    store.emit(goal.goal_id, "notice", {"message": "now"})
    thread.join(10)
    assert [e.data for e in got] == [{"message": "now"}]
    assert store.events(goal.goal_id, after=got[0].event_id, block_ms=5) == []


def test_the_event_stream_is_bounded(store, state, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    for n in range(1_300):
        store.emit(goal.goal_id, "text", {"n": n}, fence=lease.fence if n % 2 else None)
    assert state.xlen(keys.goal_events(goal.goal_id)) < 1_200


def test_the_events_of_a_finished_goal_take_no_more_room_than_they_need(store, state, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    stream = keys.goal_events(goal.goal_id)
    running = state.memory_usage(stream)
    store.finish(an_outcome(goal.goal_id), fence=lease.fence)
    assert state.memory_usage(stream) < min(running / 2, 1_500)
    assert states_in_stream(store, goal.goal_id) == ["ACCEPTED", "RUNNING", "SUCCEEDED"]
    assert 0 < state.ttl(stream) <= store._kept_s


def test_a_reader_who_waits_hears_the_last_event(store, goal, redis_server):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    last = store.events(goal.goal_id)[-1].event_id
    with redis.Redis.from_url(f"{redis_server}/2") as client:
        reader = GoalStore(client, SystemClock())
        heard = []

        def read():
            heard.extend(reader.events(goal.goal_id, after=last, block_ms=2_000))

        thread = threading.Thread(target=read)
        thread.start()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1, what="it waits")
        store.finish(an_outcome(goal.goal_id), fence=lease.fence)
        thread.join()
    assert [event.data["state"] for event in heard] == ["SUCCEEDED"]


def test_events_of_unknown_goals_leave_no_trace(store, state):
    store.emit("nowhere", "notice", {})
    assert not state.exists(keys.goal_events("nowhere"))


def test_workers_are_told_about_unknown_goals(store):
    for ask in (
        lambda: store.acquire("nowhere", owner="w"),
        lambda: store.transition("nowhere", GoalState.PARKED),
        lambda: store.finish(an_outcome("nowhere"), fence=None),
    ):
        with pytest.raises(GoalNotFound):
            ask()


def test_finished_goals_are_kept_for_their_retention_only(state):
    store = GoalStore(state, SystemClock(), retention_s=1_000)
    goal = store.create(a_goal(idempotency_key="k"))[0]
    lease, _ = store.acquire(goal.goal_id, owner="w")
    store.append_journal(lease, b"x")
    named = [keys.goal, keys.goal_events, keys.goal_journal]
    assert all(state.ttl(name(goal.goal_id)) == -1 for name in named)
    store.finish(an_outcome(goal.goal_id), fence=lease.fence)
    assert all(1_000 <= state.ttl(name(goal.goal_id)) <= 4_600 for name in named)
    assert state.ttl(keys.idempotency("default", "k")) > 0


class Repeating(redis.Redis):
    """A client whose every script call is sent twice: the first answer got lost on the way."""

    def evalsha(self, *args, **kwargs):
        super().evalsha(*args, **kwargs)
        return super().evalsha(*args, **kwargs)


def test_a_call_sent_twice_by_the_client_library_counts_once(store, state, redis_server, goal):
    scripts.load("goals", include=("fence",)).run(state, _names("x"), ["emit", "x", *[""] * 8])
    with Repeating.from_url(f"{redis_server}/2") as client:
        twice = GoalStore(client, SystemClock())
        lease, record = twice.acquire(goal.goal_id, owner="w")
        assert (lease.fence, record.deliveries, record.state) == (1, 1, "RUNNING")
        assert twice.append_journal(lease, b"same") == 1
        assert twice.append_journal(lease, b"same") == 2
        twice.release(lease, state=GoalState.DISPATCHED)
        lease, _ = twice.acquire(goal.goal_id, owner="w")
        outcome = an_outcome(goal.goal_id)
        assert twice.finish(outcome, fence=lease.fence) == outcome
    assert store.journal(goal.goal_id) == [b"same", b"same"]
    expected = ["ACCEPTED", "RUNNING", "DISPATCHED", "RUNNING", "SUCCEEDED"]
    assert states_in_stream(store, goal.goal_id) == expected


def _names(goal_id):
    return [keys.goal(goal_id), keys.goal_events(goal_id), keys.goal_journal(goal_id), "unused"]


def test_a_restarted_server_is_given_the_scripts_again(store, state, goal):
    store.acquire(goal.goal_id, owner="w")
    state.script_flush()
    with pytest.raises(LeaseHeld):
        store.acquire(goal.goal_id, owner="v")


def test_all_refusals_are_goal_state_errors(store, goal):
    lease, _ = store.acquire(goal.goal_id, owner="w")
    for ask in writes(store, lease).values():
        store._redis.hset(keys.goal(goal.goal_id), "lease_until", "0")
        with pytest.raises(GoalStateError):
            ask()
    assert raw(store._redis, goal.goal_id)["state"] == "RUNNING"
