"""Goals of several parts: planned, sent off, reviewed, published at once, known the next time."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.modes import Mode
from tests.flow.plan_support import Plans

HAIKUS = (
    "Write a haiku about rain into rain.md; write a haiku about snow into snow.md; "
    "copy rain.md to wet.md; copy wet.md to final.md"
)


@pytest.fixture
def plans(flow) -> Plans:
    return Plans(flow)


def test_a_goal_of_several_parts_is_planned_and_all_of_it_published_in_one_commit(plans) -> None:
    outcome = plans.run(HAIKUS)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.ORCHESTRATOR), outcome
    assert sorted(plans.files()) == ["final.md", "rain.md", "snow.md", "wet.md"]
    assert [row["layer"] for row in outcome.plan.steps] == [1, 1, 2, 3]
    assert [row["status"] for row in outcome.plan.steps] == ["SUCCEEDED"] * 4
    commits = plans.runtime.publisher.log.newest("demo")
    assert [c.goal_id for c in commits] == [outcome.goal_id]
    assert plans.boards() == []
    assert sorted(plans.app.sizes.values()) == [1, 1, 2]
    spent = plans.runtime.economy.scope("global")["spent"]
    assert 0 < outcome.cost_micro == spent
    assert outcome.llm_calls == plans.requests()


def test_a_known_plan_is_carried_out_without_any_model_call(plans) -> None:
    first = plans.run(HAIKUS)
    for name in plans.files():
        (plans.flow.area / name).unlink()
    before = plans.requests()
    again = plans.run(HAIKUS)
    assert (again.status, again.llm_calls, again.cost_micro) == ("SUCCEEDED", 0, 0), again
    assert plans.requests() == before
    assert again.plan.source == again.trace_id == first.learned_trace_id
    assert {row["mode"] for row in again.plan.steps} == {"FOLLOWER"}
    assert sorted(plans.files()) == ["final.md", "rain.md", "snow.md", "wet.md"]
