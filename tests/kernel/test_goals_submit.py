"""What producers do: create, equal submissions, cancel, reads. No scripting rights needed."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import redis

from llmos_workers.contracts.errors import CodecError, GoalFinished, GoalNotFound, InvalidOption
from llmos_workers.contracts.goal import GoalState, TaskEnvelope
from llmos_workers.kernel import goal_submit, keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore, new_goal_id, new_record
from tests.kernel.goal_support import (
    a_goal,
    an_outcome,
    assert_indexes_right,
    expire_lease,
    states_in_stream,
)


@pytest.fixture
def store(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def producer(state, redis_server):
    """A store whose user may do nothing that runs a script."""
    rights = ["~llmos:*", "+@all", "-@scripting", "-@dangerous", "-@admin"]
    state.execute_command("ACL", "SETUSER", "producer", "on", ">secret", "resetkeys", *rights)
    host = redis_server.removeprefix("redis://")
    client = redis.Redis.from_url(f"redis://producer:secret@{host}/2")
    yield GoalStore(client, SystemClock())
    client.close()
    state.execute_command("ACL", "DELUSER", "producer")


def test_a_stored_goal_is_read_back_whole(store):
    envelope = TaskEnvelope(
        root_id="r", group_id="g", group_index=3, chord={"task": "sum"}, headers={"x": [1]}
    )
    options = a_goal(project="demo", budget_usd="0.25", metadata={"a": [None, "ü"]}).options
    record = new_record(
        "Zähle\nbis 3", options, now=1.25, traceparent="00-ab-cd-01", envelope=envelope
    )
    assert store.create(record) == (record, True)
    assert store.get(record.goal_id) == record
    assert store.state(record.goal_id) is GoalState.ACCEPTED
    assert store.outcome(record.goal_id) is None
    assert states_in_stream(store, record.goal_id) == ["ACCEPTED"]
    assert_indexes_right(store._redis, [record])


def test_a_producer_without_scripting_rights_can_do_all_it_needs(producer, store):
    with pytest.raises(redis.exceptions.NoPermissionError):
        producer._redis.eval("return 1", 0)
    first, second = a_goal(idempotency_key="k"), a_goal()
    assert [made for _, made in producer.create_many([first, second])] == [True, True]
    assert producer.create(first) == (first, False)
    assert producer.events(first.goal_id)
    assert {r.goal_id for r in producer.list()} == {first.goal_id, second.goal_id}
    assert producer.request_cancel(first.goal_id) is GoalState.CANCELLED
    assert producer.outcome(first.goal_id).status == "CANCELLED"
    store.acquire(second.goal_id, owner="w")
    assert producer.request_cancel(second.goal_id) is GoalState.RUNNING
    assert producer.cancel_requested(second.goal_id)


def test_publish_joins_the_same_transaction(store, state):
    record = a_goal()
    store.create(record, publish=lambda pipe, r: pipe.lpush("queue", r.goal_id))
    assert state.lrange("queue", 0, -1) == [record.goal_id.encode()]
    store.create(record, publish=lambda pipe, r: pipe.lpush("queue", r.goal_id))
    assert state.llen("queue") == 1


def test_equal_submissions_with_one_key_are_one_goal(store):
    first, again = (a_goal(idempotency_key="order-7", project="shop") for _ in range(2))
    assert first.goal_id == again.goal_id == new_goal_id("shop", "order-7")
    assert new_goal_id("other", "order-7") != first.goal_id
    assert store.create(first) == (first, True)
    assert store.create(again) == (first, False)
    assert len(store.list()) == 1


def test_a_key_used_for_another_goal_is_refused_and_the_older_named(store):
    older, _ = store.create(a_goal("Paint it black", idempotency_key="k"))
    with pytest.raises(InvalidOption) as caught:
        store.create(a_goal("Paint it red", idempotency_key="k"))
    assert older.goal_id in str(caught.value)
    assert "Paint it black" in str(caught.value)
    assert store.get(older.goal_id) == older


def test_a_plain_apps_message_keeps_its_task_id_and_obeys_the_key(store):
    options = a_goal(idempotency_key="k").options
    first = new_record("Do", options, now=1.0, goal_id="task-1")
    twice = new_record("Do", options, now=2.0, goal_id="task-2")
    assert store.ensure(first) == (first, True)
    assert store.ensure(first) == (first, False)
    assert store.ensure(twice) == (first, False)
    # The client's deterministic id meets the same goal.
    assert store.create(new_record("Do", options, now=3.0)) == (first, False)
    with pytest.raises(InvalidOption, match="task-1"):
        store.ensure(new_record("Other", a_goal().options, now=1.0, goal_id="task-1"))


@pytest.mark.parametrize("bad", ["", "a b", "x:events", "x:journal", "ü", "x" * 201, "a\n"])
def test_a_task_id_that_could_not_name_our_keys_is_refused(store, bad):
    record = a_goal().model_copy(update={"goal_id": bad})
    with pytest.raises(InvalidOption, match="task id"):
        store.ensure(record)
    assert store.list() == []


def test_a_task_id_of_an_apps_own_making_will_do(store):
    record = a_goal().model_copy(update={"goal_id": "orders/2026:77"})
    store.ensure(record)
    lease, _ = store.acquire(record.goal_id, owner="w")
    assert store.finish(an_outcome(record.goal_id), fence=lease.fence).ok


def test_racing_equal_submissions_make_one_goal(store, redis_server):
    made: list[bool] = []

    def submit():
        with redis.Redis.from_url(f"{redis_server}/2") as client:
            record = a_goal(idempotency_key="race")
            made.append(GoalStore(client, SystemClock()).create(record)[1])

    threads = [threading.Thread(target=submit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 11 + [True]
    assert store._redis.xlen(keys.goal_events(new_goal_id("default", "race"))) == 1


def test_a_batch_is_stored_in_order_and_knows_its_own_doubles(store):
    records = [a_goal(f"Goal {i}") for i in range(1_203)]
    double = a_goal("Twin", idempotency_key="t")
    results = store.create_many([*records, double, a_goal("Twin", idempotency_key="t")])
    assert [r for r, _ in results] == [*records, double, double]
    assert len(store.list(limit=2_000)) == 1_204
    assert store._redis.xlen(keys.goal_events(double.goal_id)) == 1


def test_a_conflict_in_a_batch_stores_nothing_of_it(store):
    with pytest.raises(InvalidOption):
        store.create_many([a_goal("A", idempotency_key="k"), a_goal("B", idempotency_key="k")])
    assert store.list() == []


def test_a_create_whose_answer_got_lost_counts_as_made(store, monkeypatch):
    record = a_goal()
    execute = redis.client.Pipeline.execute

    def broken(self, *args, **kwargs):
        execute(self, *args, **kwargs)
        raise redis.WatchError("connection lost")  # what redis-py makes of it

    with monkeypatch.context() as patch:
        patch.setattr(redis.client.Pipeline, "execute", _once(broken, execute))
        assert store.create(record) == (record, True)
    assert store._redis.xlen(keys.goal_events(record.goal_id)) == 1


def _once(first, then):
    calls = []

    def call(self, *args, **kwargs):
        calls.append(1)
        return (first if len(calls) == 1 else then)(self, *args, **kwargs)

    return call


@pytest.mark.parametrize(
    "waiting", ["ACCEPTED", "DISPATCHED", *[s.value for s in GoalState if s.waiting]]
)
def test_cancel_ends_a_goal_that_nobody_runs_at_once(store, state, waiting):
    record = a_goal(now=SystemClock().now() - 5)
    store.create(record)
    if waiting != "ACCEPTED":
        store.transition(record.goal_id, GoalState(waiting))
    assert store.request_cancel(record.goal_id) is GoalState.CANCELLED
    outcome = store.outcome(record.goal_id)
    assert outcome.status == "CANCELLED"
    assert outcome.error.kind == "Cancelled"
    assert 5 <= outcome.duration_s < 20
    assert states_in_stream(store, record.goal_id)[-1] == "CANCELLED"
    assert state.ttl(keys.goal(record.goal_id)) > 0
    assert_indexes_right(state, store.list())


def test_cancel_leaves_finished_goals_alone(store):
    record = a_goal()
    store.create(record)
    store.finish(an_outcome(record.goal_id), fence=None)
    assert store.request_cancel(record.goal_id) is GoalState.SUCCEEDED
    assert not store.cancel_requested(record.goal_id)


def test_unknown_goals_are_said_to_be_unknown(store):
    for ask in (store.get, store.state, store.outcome, store.events, store.request_cancel):
        with pytest.raises(GoalNotFound, match="nowhere"):
            ask("nowhere")
    assert not store.cancel_requested("nowhere")
    assert store.journal("nowhere") == []
    assert store.get_many(["nowhere"]) == [None]


def test_lists_are_newest_first_and_filtered(store):
    records = [a_goal(f"{i}", project="even" if i % 2 == 0 else "odd") for i in range(130)]
    store.create_many(records)
    store.acquire(records[4].goal_id, owner="w")
    store.acquire(records[5].goal_id, owner="w")
    assert [r.text for r in store.list(limit=3)] == ["129", "128", "127"]
    assert [r.text for r in store.list(project="even", limit=2)] == ["128", "126"]
    assert [r.text for r in store.list(project="even", state=GoalState.RUNNING)] == ["4"]
    assert len(store.list(project="odd", state=GoalState.ACCEPTED, limit=500)) == 64
    assert store.list(project="none") == []


def test_paging_passes_over_equal_scores(store):
    store.create_many([a_goal(f"{i}", now=5.0, project="p") for i in range(170)])
    assert len(store.list(project="p", limit=1_000)) == 170


def test_expired_records_leave_lists_and_indexes(store, state):
    keep, gone = a_goal(), a_goal()
    store.create_many([keep, gone])
    state.delete(keys.goal(gone.goal_id))
    assert store.list() == [keep]
    assert state.zscore(keys.GOALS_ALL, gone.goal_id) is None


def test_a_record_of_a_newer_version_is_not_guessed_at(store, state):
    record = a_goal()
    store.create(record)
    state.hset(keys.goal(record.goal_id), "v", "99")
    with pytest.raises(CodecError, match="99"):
        store.get(record.goal_id)


def test_prune_forgets_only_what_is_past_its_retention(state):
    clock = MovedClock()
    store = GoalStore(state, clock, retention_s=60)
    records = [a_goal() for _ in range(3)]
    store.create_many(records)
    for record in records[:2]:
        store.finish(an_outcome(record.goal_id), fence=None)
    assert store.prune() == 0
    clock.ahead = 61
    assert store.prune() == 2
    assert [r.goal_id for r in store.list()] == [records[2].goal_id]
    assert_indexes_right(state, [records[2]])
    assert not state.exists(keys.goal_events(records[0].goal_id))


def between_read_and_write(monkeypatch, name, act):
    """Let another client act after a producer read, before its transaction runs; once."""
    original, done = getattr(goal_submit, name), []

    def call(*args, **kwargs):
        result = original(*args, **kwargs)
        if not done:
            done.append(1)
            act()
        return result

    monkeypatch.setattr(goal_submit, name, call)


def test_nothing_lost_a_cancel_that_comes_too_late_overwrites_no_outcome(store, monkeypatch):
    record = a_goal()
    store.create(record)
    mine = an_outcome(record.goal_id)
    between_read_and_write(monkeypatch, "read_record", lambda: store.finish(mine, fence=None))
    assert store.request_cancel(record.goal_id) is GoalState.SUCCEEDED
    assert store.outcome(record.goal_id) == mine


def test_a_cancel_that_meets_a_starting_run_only_flags_it(store, monkeypatch):
    record = a_goal()
    store.create(record)
    between_read_and_write(
        monkeypatch, "cancelled_outcome", lambda: store.acquire(record.goal_id, owner="w")
    )
    assert store.request_cancel(record.goal_id) is GoalState.RUNNING
    assert store.get(record.goal_id).cancel_requested


def test_a_create_that_comes_second_overwrites_nothing(store, monkeypatch):
    first, second = (a_goal(idempotency_key="k") for _ in range(2))
    between_read_and_write(monkeypatch, "_decide", lambda: store.create(first))
    assert store.create(second) == (first, False)
    assert states_in_stream(store, first.goal_id) == ["ACCEPTED"]


class MovedClock(SystemClock):
    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def test_the_goal_store_is_thin():
    code = (
        "import sys, llmos_workers.kernel.goals as g; "
        "heavy = {'celery', 'kombu', 'anthropic', 'numpy', 'qdrant_client', 'msgpack'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cancel_flag_on_a_dead_run_ends_the_goal_at_the_next_acquire(store, state):
    record = a_goal()
    store.create(record)
    store.acquire(record.goal_id, owner="w")
    store.request_cancel(record.goal_id)
    expire_lease(state, record.goal_id)
    with pytest.raises(GoalFinished, match="CANCELLED"):
        store.acquire(record.goal_id, owner="x")
    assert store.get(record.goal_id).outcome.status == "CANCELLED"
    assert_indexes_right(state, store.list())
