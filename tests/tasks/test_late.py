"""Deadlines that pass while nobody runs: what is published has succeeded, the rest has failed."""

from __future__ import annotations

import shutil

import pytest

from llmos_workers.contracts.goal import GoalOptions
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.flow import replay as replay_module
from llmos_workers.flow import think as think_module
from llmos_workers.kernel import keys
from llmos_workers.tasks.hops import Next
from tests.flow.conftest import PROJECT
from tests.kernel.goal_support import expire_lease

GOAL = "Create a README"


class Died(BaseException):
    """The process is gone."""


def die(*_args, **_options):
    raise Died


def too_late(state, record) -> None:
    """The run that holds the goal is dead, and its deadline has passed."""
    expire_lease(state, record.goal_id)
    options: GoalOptions = record.options.model_copy(update={"deadline": 1.0})
    state.hset(keys.goal(record.goal_id), "options", options.model_dump_json())


def served(flow) -> int:
    return len(flow.server.log.entries())


def dies_at(flow, monkeypatch, record, module, step: str) -> None:
    """Run the goal's hop until its process dies where it calls ``step``."""
    with monkeypatch.context() as patched:
        patched.setattr(module, step, die)
        with pytest.raises(Died):
            flow.work(record)


@pytest.mark.parametrize("mode", [Mode.LEARNER, Mode.FOLLOWER])
def test_what_is_published_has_succeeded_whatever_time_it_is(flow, state, monkeypatch, mode):
    if mode is Mode.FOLLOWER:
        assert flow.run(GOAL).ok
        output = flow.runtime.workspace.root / "projects" / PROJECT / "output"
        shutil.rmtree(output)
        output.mkdir()
    record = flow.submit(GOAL)
    assert isinstance(flow.receive(record), Next)
    last = {Mode.LEARNER: (think_module, "learn"), Mode.FOLLOWER: (replay_module, "count")}
    dies_at(flow, monkeypatch, record, *last[mode])
    assert flow.runtime.publisher.log.of_goal(record.place, record.goal_id)
    paid = served(flow)
    too_late(state, record)
    assert isinstance(flow.receive(record), Next)
    outcome = Outcome.model_validate(flow.work(record))
    assert (outcome.status, outcome.mode, outcome.error) == ("SUCCEEDED", mode, None)
    assert served(flow) == paid
    assert flow.runtime.goals.get(record.goal_id).options.deadline == 1.0


def test_what_is_not_published_has_failed(flow, state, monkeypatch):
    record = flow.submit(GOAL)
    assert isinstance(flow.receive(record), Next)
    dies_at(flow, monkeypatch, record, think_module, "_publish")
    too_late(state, record)
    outcome = Outcome.model_validate(flow.work(record))
    assert (outcome.status, outcome.error.kind) == ("FAILED", "DeadlineExceeded")
