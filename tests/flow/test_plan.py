"""Goals of several parts: planned, sent off, reviewed, published at once, known the next time."""

from __future__ import annotations

import math

import pytest

from llmos_workers.contracts.bounds import intersection
from llmos_workers.contracts.goal import Member
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.stages import Stages
from tests.flow.plan_support import Plans
from tests.support.script import calls, says, text, use

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


def test_a_plan_s_parent_makes_no_stage_of_its_own(plans, monkeypatch) -> None:
    opened, kept = [], Stages.open

    def open_stage(self, project, goal_id, fence):
        opened.append(goal_id)
        return kept(self, project, goal_id, fence)

    monkeypatch.setattr(Stages, "open", open_stage)
    outcome = plans.run(HAIKUS)
    assert outcome.ok, outcome
    assert outcome.goal_id not in opened
    assert set(opened) == set(plans.runtime.children.members(outcome.goal_id))
    assert list((plans.flow.area.parent / "state" / "stages").glob("*")) == []


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


def test_a_member_is_bound_by_its_parent_s_bounds_whatever_its_agent_s_are(plans) -> None:
    """Two agents, two ranges: what a member does is inside both."""
    agents = plans.runtime.workspace.agents
    plans.runtime.agents.load_agents()
    (agents / "lead.md").write_text(
        "---\nname: lead\ndescription: leads\ntools: [Write, Read]\n"
        "bounds:\n  Read: {limit: [1, 50]}\n---\nYou lead.\n"
    )
    record = plans.submit(HAIKUS, agent="lead", mode="orchestrator")
    plans.step(record)
    member = plans.live(record)[0].options.member
    assert member.bounds == {"Read": {"limit": (1.0, 50.0)}}
    plans.flow.model(calls(use("Read", path="x", limit=51)), says(text("I could not.")))
    plans.go_on(plans.live(record)[0])
    logged = [entry.decision().record for entry in GateLog(plans.runtime.redis).newest()]
    assert [each.rule for each in logged if each.tool == "Read"] == ["security:bounds"]
    assert intersection({"A": {"x": (0, 9)}}, {"A": {"x": (5, math.inf)}, "B": {"y": (1, 2)}}) == {
        "A": {"x": (5, 9)},
        "B": {"y": (1, 2)},
    }


def test_a_hook_that_refuses_the_goal_refuses_its_plan(plans) -> None:
    root = plans.runtime.workspace.project("demo").root
    (root / "no").write_text(
        '#!/bin/sh\ncat > /dev/null\necho \'{"decision": "deny", "reason": "closed today"}\'\n'
    )
    (root / "no").chmod(0o755)
    (root / "project.toml").write_text('hooks = [{use = "./no", events = ["UserPromptSubmit"]}]\n')
    outcome = plans.run(HAIKUS)
    assert outcome.status == "FAILED"
    assert "closed today" in outcome.error.message
    assert plans.requests() == 0


def test_a_member_does_nothing_that_its_parent_may_not(plans) -> None:
    """The plan gives a step to an agent that has Bash; the goal's own agent has not."""
    agents = plans.runtime.workspace.agents
    plans.runtime.agents.load_agents()
    (agents / "lead.md").write_text(
        "---\nname: lead\ndescription: leads\ntools: [Write, Read]\n---\nYou lead.\n"
    )
    record = plans.submit(HAIKUS, agent="lead", mode="orchestrator")
    plans.step(record)
    [member, *_] = plans.live(record)
    changed = member.options.model_copy(update={"agent": "coder"})
    plans.runtime.redis.hset(f"llmos:goal:{member.goal_id}", "options", changed.model_dump_json())
    plans.flow.model(calls(use("Bash", command="touch made")), says(text("I could not.")))
    plans.go_on(plans.runtime.goals.get(member.goal_id))
    logged = [entry.decision().record for entry in GateLog(plans.runtime.redis).newest()]
    [bash] = [each for each in logged if each.tool == "Bash"]
    assert (bash.rule, bash.agent, bash.goal_id) == ("grant", "coder", member.goal_id)


def test_plans_within_plans_end(plans) -> None:
    """A member too deep for a plan of its own is refused one, though it asks by name."""
    record = plans.submit(HAIKUS)
    parent = plans.submit("The whole")
    deep = Member(parent_id=parent.goal_id, depth=6, step="s", place="demo")
    changed = record.options.model_copy(update={"member": deep, "mode": RequestedMode.ORCHESTRATOR})
    plans.runtime.redis.hset(f"llmos:goal:{record.goal_id}", "options", changed.model_dump_json())
    outcome = plans.go_on(plans.runtime.goals.get(record.goal_id))
    assert outcome.status == "REJECTED"
    assert "max_depth" in (outcome.error.fix or "") + outcome.error.message


def planned(plans) -> int:
    """How often the planner was asked."""
    return [entry.family for entry in plans.flow.server.log.entries()].count("planner")


def test_a_known_plan_is_carried_out_with_other_names_in_all_its_parts(plans) -> None:
    first = plans.run(HAIKUS)
    asked = planned(plans)
    other = HAIKUS.replace("rain.md", "storm.md").replace("final.md", "last.md")
    outcome = plans.run(other)
    assert (outcome.status, outcome.plan.source) == ("SUCCEEDED", first.learned_trace_id), outcome
    assert planned(plans) == asked
    assert [row["goal"] for row in outcome.plan.steps] == [
        "Write a haiku about rain into storm.md",
        "Write a haiku about snow into snow.md",
        "Copy storm.md to wet.md",
        "Copy wet.md to last.md",
    ]
    assert [row["outputs"] for row in outcome.plan.steps][-1] == ["last.md"]
    files = plans.files()
    assert files["storm.md"] == files["wet.md"] == files["last.md"] == files["rain.md"]


def test_a_listed_wording_of_a_known_plan_is_carried_out_by_it_and_another_order_is_not(
    plans,
) -> None:
    first = plans.run(HAIKUS)
    listed = "\n".join(f"{n}. {job.capitalize()}" for n, job in enumerate(HAIKUS.split("; "), 1))
    decided = plans.flow.dispatcher.decide(plans.submit(listed))
    assert (decided.mode, decided.trace_id) == (Mode.ORCHESTRATOR, first.learned_trace_id)
    one, *others = HAIKUS.split("; ")
    moved = "; ".join([*others, one])
    decided = plans.flow.dispatcher.decide(plans.submit(moved))
    assert (decided.mode, decided.trace_id) == (Mode.ORCHESTRATOR, None)
