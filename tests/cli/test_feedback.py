"""llmos feedback: from the command line to the list that workers drain."""

import json

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.payload import make_options
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore, new_record


@pytest.fixture
def ended(state):
    goals = GoalStore(state, SystemClock())
    record, _ = goals.create(new_record("Create a haiku", make_options(), now=1.0))
    goals.finish(Outcome(goal_id=record.goal_id, status="SUCCEEDED"), fence=None)
    return record.goal_id


@pytest.fixture
def impatient(monkeypatch):
    from llmos_workers.client import LLMOS

    given = LLMOS.feedback
    monkeypatch.setattr(LLMOS, "feedback", lambda *a, **k: given(*a, **k, wait_s=0))


def test_feedback_is_on_record_also_when_no_worker_is_there(run, ended, impatient, state):
    ran = run("feedback", ended, "bad", "--why", "wrong file", "--json")
    assert ran.code == 0
    assert (ran.json["verdict"], ran.json["why"], ran.json["applied"]) == (
        "bad",
        "wrong file",
        False,
    )
    assert state.lrange(keys.FEEDBACK, 0, -1) == [ended.encode()]
    assert json.loads(state.get(keys.goal_feedback(ended)))["by"]


def test_a_goal_that_has_not_ended_is_refused(run, state):
    goals = GoalStore(state, SystemClock())
    record, _ = goals.create(new_record("Create a haiku", make_options(), now=1.0))
    assert record.state is GoalState.ACCEPTED
    ran = run("feedback", record.goal_id, "good")
    assert ran.code == 8
    assert "too early" in ran.err


def test_only_good_and_bad_are_words(run, ended):
    assert run("feedback", ended, "nice").code == 2
    assert run("feedback", "nobody", "good").code == 2
