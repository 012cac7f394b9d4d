"""What holds of a plan whatever its model says: rights, money, taint, repair, honest ends."""

from __future__ import annotations

import json

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.learning.signature import goal_signature
from tests.flow.plan_support import Plans, a_plan, a_step
from tests.support.script import calls, says, text, use

GOAL = "Write one.txt; write two.txt from one.txt; report it"
REVIEWED = says(text(json.dumps({"complete": True, "missing": [], "repairs": []})))
SUMMED = says(text("All is done."))


@pytest.fixture
def plans(flow) -> Plans:
    return Plans(flow)


def one_and_two() -> str:
    return a_plan(
        a_step("one", "Write one.txt with the word one", outputs=["one.txt"]),
        a_step("two", "Write two.txt from one.txt", inputs=["one"], outputs=["two.txt"]),
    )


def writes(path: str, words: str):
    """The replies of a member that writes a file."""
    return [calls(use("Write", path=path, content=words)), says(text("Written."))]


def the_good_run():
    plan = says(text(one_and_two()))
    return [plan, *writes("one.txt", "one"), *writes("two.txt", "two"), REVIEWED, SUMMED]


# Nobody asks the script for notes or verdicts: it has no words for them.
pytestmark = pytest.mark.parametrize(
    "flow", [{"learning": {"notes": False}, "judge": {"backend": "none"}}], indirect=True
)


def test_a_plan_that_is_not_sound_goes_back_once_with_its_faults(plans) -> None:
    cycle = a_plan(a_step("a", "Do a", after=["b"]), a_step("b", "Do b", after=["a"]))
    script = plans.flow.model(says(text(cycle)), *the_good_run())
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert outcome.status == "SUCCEEDED", outcome
    repair = script.requests[1]["messages"][-1]["content"]
    assert "steps wait for each other: a, b" in str(repair)


@pytest.mark.parametrize(("mode", "ends"), [("AUTO", Mode.LEARNER), ("ORCHESTRATOR", None)])
def test_no_sound_plan_is_a_learners_goal_or_an_honest_failure(plans, mode, ends) -> None:
    bad = says(text("no plan at all"))
    plans.flow.model(bad, bad, *writes("one.txt", "one"))
    outcome = plans.run(GOAL, mode=mode)
    if ends is Mode.LEARNER:
        assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.LEARNER)
        assert "no sound plan" in outcome.reason
    else:
        assert (outcome.status, outcome.error.kind) == ("FAILED", "BadPlan")


def test_a_plan_of_one_step_is_a_learners_goal(plans) -> None:
    plans.flow.model(says(text(a_plan(a_step("all", GOAL)))), *writes("one.txt", "one"))
    outcome = plans.run(GOAL)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.LEARNER)
    assert "its plan has one step" in outcome.reason
    assert plans.runtime.children.members(outcome.goal_id) == {}


def test_what_fails_is_tried_again_and_then_missing_and_the_rest_is_there(plans) -> None:
    plan = says(text(one_and_two()))
    broken = says(text("I cannot."), stop="refusal")
    nothing = says(
        text(json.dumps({"complete": False, "missing": ["two.txt is missing"], "repairs": []}))
    )
    plans.flow.model(plan, *writes("one.txt", "one"), broken, broken, nothing, SUMMED)
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert (outcome.status, outcome.error.kind) == ("PARTIAL", "PlanIncomplete")
    assert "two.txt is missing" in outcome.error.message
    assert [(r["status"], r["tries"]) for r in outcome.plan.steps] == [
        ("SUCCEEDED", 1), ("FAILED", 2),
    ]  # fmt: skip
    assert plans.files() == {"one.txt": "one"}
    assert outcome.learned_trace_id is None
    assert plans.runtime.traces.get("demo", goal_signature(GOAL)) is None


def test_where_nothing_was_done_nothing_is_published_and_the_goal_failed(plans) -> None:
    broken = says(text("I cannot."), stop="refusal")
    nothing = says(text(json.dumps({"complete": False, "missing": [], "repairs": []})))
    plans.flow.model(says(text(one_and_two())), broken, broken, nothing)
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert outcome.status == "FAILED", outcome
    assert [r.get("status") for r in outcome.plan.steps] == ["FAILED", None]
    assert plans.files() == {}
    assert plans.boards() == []


def test_a_reviewer_may_add_what_is_missing_once(plans) -> None:
    more = a_step("three", "Write three.txt with the word three", outputs=["three.txt"])
    missing = says(
        text(json.dumps({"complete": False, "missing": ["three.txt"], "repairs": [more]}))
    )
    again = a_step("four", "Write four.txt", outputs=["four.txt"])
    still = says(text(json.dumps({"complete": False, "missing": ["four"], "repairs": [again]})))
    good = the_good_run()[:-2]
    plans.flow.model(*good, missing, *writes("three.txt", "three"), still, SUMMED)
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert (outcome.status, outcome.plan.repaired) == ("PARTIAL", 1)
    assert sorted(plans.files()) == ["one.txt", "three.txt", "two.txt"]
    assert outcome.plan.missing == ("four",)


def test_a_file_that_was_promised_and_is_not_there_is_missing_whatever_a_reviewer_says(
    plans,
) -> None:
    plan = says(text(one_and_two()))
    lazy = says(text("Done, I think."))
    plans.flow.model(plan, *writes("one.txt", "one"), lazy, REVIEWED, SUMMED)
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert outcome.status == "PARTIAL"
    assert "step two did not leave two.txt" in outcome.error.message


def test_a_member_may_use_no_tool_that_the_plan_may_not(plans) -> None:
    plan = a_plan(
        a_step("one", "Write one.txt", agent="coder", outputs=["one.txt"]),
        a_step("two", "Write two.txt", agent="writer", outputs=["two.txt"]),
    )
    tries = calls(use("Bash", command="echo hi > one.txt"))
    plans.flow.model(
        says(text(plan)), tries, says(text("I may not.")), *writes("two.txt", "two"), REVIEWED,
        SUMMED,
    )  # fmt: skip
    record = plans.submit(GOAL, mode="ORCHESTRATOR", agent="writer")
    assert plans.step(record) is None
    (coder, _) = sorted(plans.live(record), key=lambda each: each.options.agent)
    assert "Bash" not in coder.options.member.grants
    plans.go_on(record)
    (call,) = plans.runtime.goals.get(coder.goal_id).outcome.tool_calls
    assert (call.name, call.ok) == ("Bash", False)
    assert "one.txt" not in plans.files()


def test_members_share_what_is_left_and_never_more(plans) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR", budget_usd=2.0)
    assert plans.step(record) is None
    (one,) = plans.live(record)
    economy = plans.runtime.economy
    (state,) = economy.states([f"goal:{record.goal_id}"])
    assert state.lifetime.limit_micro == 2_000_000
    assert one.options.budget_micro == (2_000_000 - state.lifetime.spent_micro) // 4
    outcome = plans.go_on(record)
    assert outcome.status == "SUCCEEDED", outcome
    assert economy.scope(f"goal:{record.goal_id}")["spent"] == outcome.cost_micro
    assert outcome.cost_micro == economy.scope("global")["spent"]


def test_a_plan_that_its_money_cannot_pay_is_not_sound(plans) -> None:
    plans.flow.model(says(text(one_and_two())), says(text(one_and_two())))
    outcome = plans.run(GOAL, mode="ORCHESTRATOR", budget_usd=0.03)
    assert outcome.status in ("FAILED", "REJECTED")
    assert "at most" in outcome.error.message or "budget" in outcome.error.message


def test_content_from_outside_taints_later_members_the_parent_and_the_learned_plan(plans) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR")
    assert plans.step(record) is None
    (one,) = plans.live(record)
    plans.runtime.children.mark_tainted(record.goal_id, "WebFetch")
    plans.go_on(one)
    plans.runtime.children.tick()
    assert plans.step(record) is None
    (two,) = plans.live(record)
    assert two.options.member.tainted == "WebFetch"
    outcome = plans.go_on(record)
    assert outcome.tainted == "WebFetch"
    trace = plans.flow.trace(GOAL)
    assert trace.tainted
    plans.flow.model(*the_good_run())
    assert plans.run(GOAL).plan is not None
    assert plans.flow.dispatcher.decide(plans.submit(GOAL)).trace_id is None


def test_a_plan_waits_for_a_persons_yes_once(plans) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR", approve_plan=True)
    assert plans.step(record) is None
    assert plans.state(record) is GoalState.WAITING_APPROVAL
    (asked,) = plans.runtime.approvals.pending()
    assert "two.txt" in asked.shown
    plans.runtime.approvals.approve(asked.approval_id, by="me")
    outcome = plans.go_on(record)
    assert outcome.status == "SUCCEEDED", outcome
    assert plans.runtime.approvals.pending() == []


def test_a_no_to_the_plan_ends_the_goal_and_does_nothing(plans) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR", approve_plan=True)
    plans.step(record)
    (asked,) = plans.runtime.approvals.pending()
    plans.runtime.approvals.deny(asked.approval_id, by="me", why="no")
    outcome = plans.go_on(record)
    assert outcome.status == "FAILED"
    assert plans.runtime.children.members(record.goal_id) == {}


def test_only_the_plan_is_made_where_only_that_was_asked(plans) -> None:
    plans.flow.model(*the_good_run())
    outcome = plans.run(GOAL, mode="ORCHESTRATOR", plan_only=True)
    assert [row["id"] for row in outcome.plan.steps] == ["one", "two"]
    assert (outcome.status, outcome.llm_calls) == ("SUCCEEDED", 1)
    assert plans.runtime.children.members(outcome.goal_id) == {}


def test_the_deadline_ends_the_plan_and_its_members(plans) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR")
    assert plans.step(record) is None
    (one,) = plans.live(record)
    late = record.options.model_copy(update={"deadline": 1.0})
    plans.runtime.redis.hset(keys.goal(record.goal_id), "options", late.model_dump_json())
    plans.runtime.redis.zadd(keys.DELAYED, {record.goal_id: 1.0})
    plans.runtime.delayed.move_due(plans.runtime.clock.now())
    outcome = plans.go_on(record)
    assert (outcome.status, outcome.error.kind) == ("FAILED", "DeadlineExceeded")
    assert plans.runtime.goals.state(one.goal_id) is GoalState.CANCELLED


def test_a_part_of_a_plan_that_has_ended_is_not_done_any_more(plans) -> None:
    """Its message comes late, or somebody retries it: its files would be nobody's."""
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR")
    assert plans.step(record) is None
    (one,) = plans.live(record)
    plans.runtime.goals.request_cancel(record.goal_id)
    outcome = plans.go_on(one)
    assert (outcome.status, outcome.error.kind) == ("CANCELLED", "Cancelled")
    assert "has ended" in outcome.error.message
    assert plans.step(record) is not None
    assert (plans.files(), plans.boards()) == ({}, [])


def test_another_goals_change_of_a_plans_file_is_a_conflict_and_nothing_is_published(
    plans,
) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR")
    assert plans.step(record) is None
    plans.flow.area.joinpath("one.txt").write_text("theirs")
    outcome = plans.go_on(record)
    assert (outcome.status, outcome.error.kind, outcome.files) == ("FAILED", "PublishConflict", ())
    assert plans.files() == {"one.txt": "theirs"}
    assert plans.boards() == []


def test_a_run_that_dies_while_it_sends_members_off_sends_none_twice(plans, monkeypatch) -> None:
    plans.flow.model(*the_good_run())
    record = plans.submit(GOAL, mode="ORCHESTRATOR")
    store = type(plans.runtime.goals)

    def dies(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "create_many", dies)
    with pytest.raises(KeyboardInterrupt):
        plans.step(record)
    assert len(plans.runtime.children.live(record.goal_id)) == 1
    monkeypatch.undo()
    plans.runtime.redis.hset(keys.goal(record.goal_id), "lease_until", "1.0")
    outcome = plans.go_on(record)
    assert outcome.status == "SUCCEEDED", outcome
    assert [row["tries"] for row in outcome.plan.steps] == [1, 1]
    assert len(plans.runtime.children.members(record.goal_id)) == 2


def test_a_specialist_that_is_missing_may_be_made_where_policy_allows(plans) -> None:
    plan = a_plan(
        a_step("one", "Compose a poem about storks in one.txt", agent="poet", outputs=["one.txt"]),
        a_step("two", "Count to seven in two.txt", outputs=["two.txt"]),
    )
    run = [says(text(plan)), *writes("one.txt", "1"), *writes("two.txt", "2"), REVIEWED, SUMMED]
    plans.flow.model(says(text(plan)), says(text(plan)))
    assert plans.run(GOAL, mode="ORCHESTRATOR").error.kind == "BadPlan"
    config = plans.runtime.config
    allowed = config.orchestration.model_copy(update={"create_agents": True})
    plans.runtime.config = config.model_copy(update={"orchestration": allowed})
    plans.flow.model(*run)
    outcome = plans.run(GOAL, mode="ORCHESTRATOR")
    assert outcome.status == "SUCCEEDED", outcome
    made = plans.runtime.agents.get("poet")
    assert set(made.tools) <= set(plans.runtime.agents.get("system-agent").tools)
    assert "create_agent" not in made.tools
