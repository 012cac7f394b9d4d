"""A goal of several parts that structure does not know: what is known goes before a new plan."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from tests.flow.plan_support import Plans

HAIKUS = "Write a haiku about rain into rain.md; copy rain.md to wet.md; convert prices.csv to JSON"
ORDERED = HAIKUS.replace("; copy", "; then copy")
"""Structure does not vouch for it: somebody asks for an order that nobody asked for before."""
LOOSE = ORDERED.replace("copy rain.md to", "duplicate rain.md as").replace("convert", "turn")
LOOSE = LOOSE.replace("to JSON", "into JSON")
"""No less, in words that are no sign of several jobs."""


@pytest.fixture
def plans(flow) -> Plans:
    (flow.area / "prices.csv").write_text("item,price\npen,2\n")
    return Plans(flow)


def families(plans) -> list[str]:
    return [entry.family for entry in plans.flow.server.log.entries()]


def trust(plans) -> None:
    runtime = plans.runtime
    runtime.redis.hset(keys.judge(runtime.judge.name), "right", 400)


@pytest.mark.parametrize("goal", [ORDERED, LOOSE], ids=["would be planned", "would be learned"])
def test_a_trusted_judges_yes_makes_a_known_plan_known_for_a_new_wording(plans, goal) -> None:
    first = plans.run(HAIKUS)
    trust(plans)
    decision = plans.flow.dispatcher.decide(plans.submit(goal))
    assert decision.to_judge == first.learned_trace_id, decision
    before = families(plans)
    outcome = plans.run(goal)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.ORCHESTRATOR), outcome
    assert outcome.plan.source == first.learned_trace_id
    assert families(plans)[len(before) :] == ["judge"]
    assert outcome.llm_calls == 1
    assert outcome.cost_micro > 0
    again = plans.run(goal)
    assert (again.trace_id, again.llm_calls) == (first.learned_trace_id, 0)


def test_an_untrusted_judge_is_told_by_the_plan_that_is_made_anew(plans) -> None:
    first = plans.run(HAIKUS)
    decision = plans.flow.dispatcher.decide(plans.submit(ORDERED))
    assert (decision.mode, decision.trace_id) == (Mode.ORCHESTRATOR, None)
    assert decision.to_judge == first.learned_trace_id
    asked = families(plans).count("planner")
    outcome = plans.run(ORDERED)
    assert (outcome.status, outcome.plan.source) == ("SUCCEEDED", "planner"), outcome
    assert families(plans).count("planner") == asked + 1
    record = plans.runtime.verdicts.record(plans.runtime.judge.name)
    assert (record.labelled, record.right) == (1, 1)
