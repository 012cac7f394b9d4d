"""What changes while a plan is under way: other goals' files, the plans that are known, deaths."""

from __future__ import annotations

import json

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.feedback import apply_feedback
from llmos_workers.kernel import keys
from llmos_workers.kernel.feedback import make_feedback
from llmos_workers.kernel.goals import GoalStore
from tests.flow.plan_support import Plans, a_plan, a_step
from tests.support.script import says, text

GOAL = "Write one.txt; write two.txt from one.txt; report it"
HAIKUS = (
    "Write a haiku about rain into rain.md; copy rain.md to wet.md; "
    "write a haiku about snow into final.md"
)


@pytest.fixture
def plans(flow) -> Plans:
    return Plans(flow)


def planner_calls(plans) -> int:
    return [entry.family for entry in plans.flow.server.log.entries()].count("planner")


def test_a_known_plan_whose_files_another_goal_changed_starts_again(plans) -> None:
    first = plans.run(HAIKUS)
    made = plans.files()
    record = plans.submit(HAIKUS)
    assert plans.step(record) is None
    plans.flow.area.joinpath("rain.md").write_text("theirs")
    before = plans.requests()
    outcome = plans.go_on(record)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.ORCHESTRATOR), outcome
    assert outcome.plan.source == first.learned_trace_id
    assert plans.requests() == before
    assert [(row["status"], row["tries"]) for row in outcome.plan.steps] == [("SUCCEEDED", 1)] * 3
    assert plans.files() == made
    assert plans.boards() == []
    notices = [e["message"] for e in plans.flow.events(outcome.goal_id, "notice")]
    assert any("its plan starts again" in each for each in notices)
    # Its members are told apart from those of the first time.
    assert len(plans.runtime.children.members(outcome.goal_id)) == 6


def test_a_bad_word_on_a_goal_that_followed_a_known_plan_is_a_veto(plans) -> None:
    learned = plans.run(HAIKUS).learned_trace_id
    again = plans.run(HAIKUS)
    assert (again.plan.source, again.learned_trace_id) == (learned, None)
    goal = plans.runtime.goals.get(again.goal_id)
    word = make_feedback(goal, "bad", why="", by="ann", now=1.0)
    assert f"never follows trace {learned} again" in apply_feedback(plans.runtime, word)
    decision = plans.flow.dispatcher.decide(plans.submit(HAIKUS))
    assert decision.trace_id != learned


def test_a_known_plan_that_meets_changes_again_and_again_fails_and_publishes_nothing(
    plans,
) -> None:
    plans.run(HAIKUS)
    record = plans.submit(HAIKUS)
    last = plans.flow.area / "final.md"
    for number in range(20):
        if plans.step(record) is not None:
            break
        last.write_text(f"theirs {number}")
        for child in plans.live(record):
            plans.go_on(child)
        plans.runtime.children.tick()
    outcome = plans.runtime.goals.outcome(record.goal_id)
    assert (outcome.status, outcome.error.kind) == ("FAILED", "PublishConflict")
    assert last.read_text().startswith("theirs")
    assert len(plans.runtime.children.members(record.goal_id)) == 9
    assert plans.boards() == []


def test_the_plan_under_way_is_kept_whatever_becomes_of_the_known_one(plans) -> None:
    learned = plans.run(HAIKUS).learned_trace_id
    record = plans.submit(HAIKUS)
    assert plans.step(record) is None
    for number in range(2):  # others fail with it: it is not followed any more
        plans.runtime.traces.update_trace_stats(
            "demo", learned, success=False, cost_micro=0, saved_micro=0, latency_ms=1.0,
            outcome_id=f"other-{number}",
        )  # fmt: skip
    assert plans.flow.dispatcher.decide(plans.submit(HAIKUS)).trace_id is None
    asked = planner_calls(plans)
    outcome = plans.go_on(record)
    assert (outcome.status, outcome.plan.source) == ("SUCCEEDED", learned), outcome
    assert planner_calls(plans) == asked
    assert len(plans.runtime.children.members(outcome.goal_id)) == 3


@pytest.mark.parametrize(
    "flow", [{"learning": {"notes": False}, "judge": {"backend": "none"}}], indirect=True
)
class TestScripted:
    def plan(self) -> str:
        return a_plan(
            a_step("one", "Write one.txt with the word one", outputs=["one.txt"]),
            a_step("two", "Write two.txt from one.txt", inputs=["one"], outputs=["two.txt"]),
        )

    def writes(self, path: str, words: str):
        from tests.support.script import calls, use

        return [calls(use("Write", path=path, content=words)), says(text("Written."))]

    def ended(self):
        whole = json.dumps({"complete": True, "missing": [], "repairs": []})
        return [says(text(whole)), says(text("All is done."))]

    def the_good_run(self):
        plan = says(text(self.plan()))
        return [plan, *self.writes("one.txt", "1"), *self.writes("two.txt", "2"), *self.ended()]

    def test_a_death_between_a_conflict_and_its_end_does_not_make_it_a_success(
        self, plans, monkeypatch
    ) -> None:
        plans.flow.model(*self.the_good_run())
        record = plans.submit(GOAL, mode="ORCHESTRATOR")
        assert plans.step(record) is None
        for name in ("one.txt", "two.txt"):
            plans.flow.area.joinpath(name).write_text("theirs")
        finish = GoalStore.finish

        def dies(self, outcome, *, fence):
            if outcome.goal_id == record.goal_id:
                raise KeyboardInterrupt
            return finish(self, outcome, fence=fence)

        monkeypatch.setattr(GoalStore, "finish", dies)
        with pytest.raises(KeyboardInterrupt):
            plans.go_on(record)
        monkeypatch.undo()
        plans.runtime.redis.hset(keys.goal(record.goal_id), "lease_until", "1.0")
        outcome = plans.go_on(record)
        assert (outcome.status, outcome.error.kind) == ("FAILED", "PublishConflict"), outcome
        assert set(plans.files().values()) == {"theirs"}

    def test_where_a_known_plan_did_nothing_another_one_is_made(self, plans) -> None:
        plans.flow.model(*self.the_good_run())
        learned = plans.run(GOAL, mode="ORCHESTRATOR").learned_trace_id
        for name in plans.files():
            (plans.flow.area / name).unlink()
        for trace in plans.runtime.traces.list("demo"):
            if not trace.is_plan:  # what its parts did is no longer known
                plans.runtime.traces.remove("demo", trace.trace_id)
        broken = says(text("I cannot."), stop="refusal")
        nothing = says(text(json.dumps({"complete": False, "missing": [], "repairs": []})))
        plans.flow.model(broken, broken, nothing, *self.the_good_run())
        outcome = plans.run(GOAL)
        assert (outcome.status, outcome.plan.source) == ("SUCCEEDED", "planner"), outcome
        assert [row["tries"] for row in outcome.plan.steps] == [1, 1]
        trace = plans.runtime.traces.get("demo", learned)
        assert (trace.version, outcome.learned_trace_id) == (2, learned)
