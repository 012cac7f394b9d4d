"""Submitting: what is recorded, what is queued, what is refused."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmos_workers.contracts.errors import (
    BrokerUnavailable,
    GoalNotFound,
    InvalidGoal,
    InvalidOption,
    LLMOSError,
    UnknownAgent,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.kernel.wire import queue_lists
from tests.conftest import free_port

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def queued(llmos):
    """The goal ids in the dispatch queue, first to be served first."""
    ids = []
    for name in queue_lists("dispatch"):
        for raw in reversed(llmos.broker.lrange(name, 0, -1)):
            message = json.loads(raw)
            assert json.loads(base64.b64decode(message["body"]))[1] == {"v": 1, "stored": True}
            ids.append(message["headers"]["id"])
    return ids


def test_a_goal_is_recorded_and_queued_under_one_id(llmos):
    handle = llmos.submit("  write a poem ", project="poems", mode="learner", budget_usd=0.5)
    record = handle.record()
    assert queued(llmos) == [handle.id]
    assert (record.text, record.state) == ("write a poem", GoalState.ACCEPTED)
    assert record.options.mode is RequestedMode.LEARNER
    assert record.options.budget_micro == 500_000
    assert handle.status() is GoalState.ACCEPTED
    assert handle.outcome() is None


def test_all_options_arrive(llmos):
    deadline = llmos.clock.now() + 60
    handle = llmos.submit(
        "x", metadata={"a": 1}, priority=3, deadline=deadline, dry_run=True,
        traceparent=TRACEPARENT, idempotency_key="k",
    )  # fmt: skip
    record = handle.record()
    assert record.options.model_dump(include={"metadata", "priority", "dry_run"}) == {
        "metadata": {"a": 1}, "priority": 3, "dry_run": True,
    }  # fmt: skip
    assert record.options.deadline == deadline
    assert record.traceparent == TRACEPARENT


def test_a_deadline_may_be_a_time_from_now_or_an_aware_datetime(llmos):
    soon = llmos.submit("x", deadline=timedelta(minutes=5)).record()
    assert 290 < soon.options.deadline - llmos.clock.now() <= 300
    moment = datetime(2199, 1, 1, tzinfo=UTC)
    assert llmos.submit("x", deadline=moment).record().options.deadline == moment.timestamp()


def test_an_idempotency_key_makes_equal_submissions_one_goal(llmos):
    first = llmos.submit("x", idempotency_key="nightly")
    again = llmos.submit("x", idempotency_key="nightly")
    assert again.id == first.id
    assert (first.created, again.created) == (True, False)


def test_a_goal_whose_message_was_never_sent_is_queued_by_the_next_equal_submission(llmos):
    first = llmos.submit("x", idempotency_key="k")
    llmos.broker.delete(*queue_lists("dispatch"))
    llmos.submit("x", idempotency_key="k")
    assert queued(llmos) == [first.id]


def test_a_goal_on_record_that_could_not_be_queued_is_named_and_heals(llmos):
    broken = redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    working, llmos.broker = llmos.broker, broken
    with pytest.raises(BrokerUnavailable, match="perhaps not queued") as caught:
        llmos.submit("x", idempotency_key="k")
    (record,) = llmos.list()
    assert record.goal_id in caught.value.message
    assert "idempotency key" in caught.value.fix
    llmos.__dict__.pop("_submitter")
    llmos.broker = working
    assert llmos.submit("x", idempotency_key="k").id == record.goal_id
    assert queued(llmos) == [record.goal_id]


def test_a_running_goal_is_not_queued_again(llmos):
    first = llmos.submit("x", idempotency_key="k")
    llmos.broker.delete(*queue_lists("dispatch"))
    llmos.goals.acquire(first.id, owner="w")
    assert llmos.submit("x", idempotency_key="k").id == first.id
    assert queued(llmos) == []


def test_a_key_of_another_goal_is_refused(llmos):
    llmos.submit("x", idempotency_key="k")
    with pytest.raises(InvalidOption, match="already used"):
        llmos.submit("y", idempotency_key="k")


@pytest.mark.parametrize("goal", ["", " \n ", "x" * 1_000_000, None, 7])
def test_a_bad_goal_is_refused_before_anything_is_written(llmos, goal):
    with pytest.raises(InvalidGoal):
        llmos.submit(goal)
    assert llmos.redis.dbsize() == 0
    assert queued(llmos) == []


@pytest.mark.parametrize(
    "option",
    [
        {"mode": "warp"},
        {"mode": ""},
        {"project": "../up"},
        {"project": "a/b"},
        {"project": ".."},
        {"project": "/etc"},
        {"project": "a\x00"},
        {"project": ""},
        {"budget_usd": 0},
        {"budget_usd": -1},
        {"budget_usd": float("nan")},
        {"budget_usd": float("inf")},
        {"priority": 0},
        {"deadline": 60},
        {"deadline": timedelta(seconds=-1)},
        {"deadline": datetime(2199, 1, 1)},  # noqa: DTZ001 - that is the point
        {"deadline": float("nan")},
        {"deadline": "soon"},
        {"traceparent": "abc"},
        {"agent": "../x"},
        {"agent": ""},
        {"metadata": {"x": object()}},
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(llmos, option):
    with pytest.raises(InvalidOption):
        llmos.submit("x", **option)
    assert llmos.redis.dbsize() == 0


def test_an_unknown_agent_is_refused_where_the_workspace_is_at_hand(llmos):
    folder = llmos.config.workspace / "agents"
    folder.mkdir()
    (folder / "coder.md").write_text("x")
    with pytest.raises(UnknownAgent, match="coder"):
        llmos.submit("x", agent="nobody")
    assert llmos.submit("x", agent="coder").record().options.agent == "coder"


def test_an_agent_passes_where_no_workspace_is_at_hand(llmos):
    assert llmos.submit("x", agent="nobody").record().options.agent == "nobody"


def test_many_goals_keep_their_order_and_their_own_options(llmos):
    items = ["a", {"goal": "b", "priority": 1}, {"goal": "c", "project": "q"}]
    handles = llmos.submit_many(items, batch=2, project="p")
    records = [handle.record() for handle in handles]
    assert [r.text for r in records] == ["a", "b", "c"]
    assert [r.project for r in records] == ["p", "p", "q"]
    assert sorted(queued(llmos)) == sorted(h.id for h in handles)


def test_many_goals_with_a_wrong_one_submit_nothing(llmos):
    with pytest.raises(InvalidGoal, match="goal 2"):
        llmos.submit_many(["a", " ", "c"], batch=1)
    assert llmos.redis.dbsize() == 0


def test_each_goal_stands_for_itself(llmos):
    llmos.submit("taken", idempotency_key="k")
    passed_on = InvalidGoal("line 4 is no JSON.")
    items = ["a", "", {"golas": "x"}, passed_on, {"goal": "other", "idempotency_key": "k"}, 7, "z"]
    results = list(llmos.submit_each(items, batch=100))
    kinds = [type(r).__name__ if isinstance(r, LLMOSError) else "ok" for r in results]
    assert kinds == ["ok", "InvalidGoal", "InvalidOption", "InvalidGoal", "InvalidOption",
                     "InvalidOption", "ok"]  # fmt: skip
    assert results[3] is passed_on
    assert [llmos.get(results[i].id).record().text for i in (0, 6)] == ["a", "z"]


def test_one_key_twice_in_a_batch_is_one_goal_with_one_message(llmos):
    one, two = llmos.submit_many([{"goal": "x", "idempotency_key": "k"}] * 2)
    assert one.id == two.id
    assert queued(llmos) == [one.id]


def test_goals_are_listed_newest_first_and_filtered(llmos):
    ids = [llmos.submit(f"g{i}", project=f"p{i % 2}").id for i in range(4)]
    assert {r.goal_id for r in llmos.list()} == set(ids)
    assert {r.goal_id for r in llmos.list(project="p1")} == {ids[1], ids[3]}
    assert llmos.list(state="succeeded") == []
    assert len(llmos.list(state="accepted", limit=2)) == 2
    with pytest.raises(InvalidOption, match="waiting_approval"):
        llmos.list(state="lost")


def test_an_unknown_id_says_so(llmos):
    for ask in (llmos.get, llmos.status, llmos.cancel):
        with pytest.raises(GoalNotFound, match="no-such"):
            ask("no-such")
