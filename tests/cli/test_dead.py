"""``llmos dead``: what is given up is seen, retried, dropped."""

from __future__ import annotations

import pytest
import redis

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.cli.conftest import Run
from tests.kernel.goal_support import a_goal
from tests.support.stub_worker import StubWorker


@pytest.fixture
def dead_ids(state: redis.Redis) -> list[str]:
    goals = GoalStore(state, SystemClock())
    records = [a_goal(f"Break worker {i}", now=SystemClock().now()) for i in range(2)]
    goals.create_many(records)
    error = ErrorInfo(kind="PoisonGoal", message="given up after 5 starts.", fix="Look.")
    for record in records:
        outcome = Outcome(goal_id=record.goal_id, status=GoalState.DEAD.value, error=error)
        goals.emit(record.goal_id, "notice", {"message": "the run died"})
        goals.finish(outcome, fence=None)
    return [record.goal_id for record in records]


def test_dead_goals_are_listed_and_told(run: Run, dead_ids: list[str]) -> None:
    told = run("dead", "list")
    assert (told.code, "Break worker 1" in told.out) == (0, True)
    assert [each["goal_id"] for each in run("dead", "list", "--json").lines] == dead_ids[::-1]
    shown = run("dead", "show", dead_ids[0])
    assert "given up after 5 starts." in shown.out
    assert "the run died" in shown.out
    events = run("dead", "show", dead_ids[0], "--json").json["events"]
    assert [event["kind"] for event in events] == ["state", "notice", "state"]


def test_a_retried_goal_runs_and_leaves_the_list(
    run: Run, dead_ids: list[str], worker: StubWorker
) -> None:
    told = run("dead", "retry", dead_ids[0], "--json").json
    assert told["retry_of"] == dead_ids[0]
    assert run("result", told["goal_id"], "--wait", "--timeout", "10").code == 0
    assert [each["goal_id"] for each in run("dead", "list", "--json").lines] == dead_ids[1:]


def test_all_of_them_at_once(run: Run, dead_ids: list[str]) -> None:
    assert len(run("dead", "drop", "--all", "--json").lines) == 2
    assert run("dead", "list").out == "no dead goals.\n"
    assert run("dead", "drop", dead_ids[0]).out.endswith("was off the list already.\n")
    assert len(run("dead", "retry", *dead_ids).out.splitlines()) == 2


def test_what_is_no_dead_goal_is_refused_in_words(run: Run, state: redis.Redis) -> None:
    record = a_goal()
    GoalStore(state, SystemClock()).create(record)
    for command in ("show", "retry", "drop"):
        told = run("dead", command, record.goal_id)
        assert (told.code, "no dead letter" in told.err) == (2, True)
    assert run("dead", "drop").code == 2
    assert run("dead", "retry", "--all", "x").code == 2


def test_without_a_server_the_message_says_so(bare_run: Run) -> None:
    told = bare_run("--redis-url", "redis://127.0.0.1:1", "dead", "list")
    assert (told.code, "does not answer while listing dead goals" in told.err) == (6, True)
