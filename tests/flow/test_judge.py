"""The judge at work: asked once, on probation first, followed when its record allows it."""

import threading

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.feedback import apply_feedback
from llmos_workers.flow.judge import judge_first
from llmos_workers.kernel import keys
from llmos_workers.kernel.feedback import make_feedback
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.verdicts import StoredVerdict, calls_digest
from llmos_workers.rehearsal.brain import Brain, Reply
from llmos_workers.rehearsal.judging import is_question
from llmos_workers.tasks.hops import leased_run
from tests.flow.conftest import Hop

CALCULATOR = "Create a Python calculator"
REWORDED = "We need a small Python program that works as a calculator"
OTHER = "Could somebody come up with a python calculator for me?"
LOOKS_ALIKE = "Write Python unit tests for a calculator"
PROJECT = "demo"


class WrongJudge(Brain):
    """Says yes to everything, and solves goals as the scripts do."""

    def reply(self, request):
        found = super().reply(request)
        if not is_question(request):
            return found
        text = found.content[0]["text"]
        text = text.replace('"harmless": false', '"harmless": true').replace('"no"', '"yes"')
        head, _, tail = text.partition('"missing_or_extra": ')
        return Reply(
            [
                {
                    "type": "text",
                    "text": head + '"missing_or_extra": ""' + tail[tail.index(', "ver') :],
                }
            ],
            "end_turn",
        )


def judge_name(flow):
    return flow.runtime.judge.name


def trust(flow, right=400):
    """Give the judge a record."""
    flow.runtime.redis.hset(keys.judge(judge_name(flow)), "right", right)


def asked(flow):
    return [e for e in flow.server.log.entries() if e.family == "judge"]


def test_a_new_wording_is_judged_once_and_runs_on_probation(flow):
    learned = flow.run(CALCULATOR)
    outcome = flow.run(REWORDED)
    assert outcome.mode is Mode.MIXED
    assert "on probation" in outcome.reason
    assert outcome.trace_id == learned.learned_trace_id
    assert len(asked(flow)) == 1
    record = flow.runtime.verdicts.record(judge_name(flow))
    assert (record.yes, record.right, record.wrong) == (1, 1, 0)
    assert flow.run(REWORDED).mode is Mode.FOLLOWER
    assert len(asked(flow)) == 1


def test_a_judge_with_a_record_is_followed_at_once(flow):
    flow.run(CALCULATOR)
    trust(flow)
    outcome = flow.run(REWORDED)
    assert [d.mode for d in flow.decisions] == [Mode.MIXED, Mode.FOLLOWER]
    assert (outcome.mode, outcome.llm_calls) == (Mode.FOLLOWER, 1)
    assert "a judge says it means the same" in outcome.reason
    assert outcome.confidence == pytest.approx(0.9925, abs=1e-3)
    assert outcome.files[0].path == "calculator.py"
    assert flow.trace(CALCULATOR).aliases == (REWORDED,)
    again = flow.run(REWORDED)
    assert (again.mode, again.llm_calls, again.cost_micro) == (Mode.FOLLOWER, 0, 0)


def test_a_verdict_is_in_the_ledger_and_under_the_goals_budget(flow):
    flow.run(CALCULATOR)
    trust(flow)
    outcome = flow.run(REWORDED)
    (entry,) = [e for e in flow.ledger("settle") if e.purpose == "judge"]
    assert entry.goal_id == outcome.goal_id
    assert entry.micro == outcome.cost_micro == asked(flow)[0].charged_micro > 0
    assert flow.runtime.spent_on(outcome.goal_id) == outcome.cost_micro


def test_without_money_for_a_judge_the_goal_goes_on_without(flow):
    flow.run(CALCULATOR)
    trust(flow)
    outcome = flow.run(REWORDED, budget_usd="0.000001")
    assert outcome.status == "REJECTED"
    assert asked(flow) == []
    assert any("could not be asked" in e["message"] for e in flow.events(outcome.goal_id, "notice"))


def test_a_no_is_remembered_and_the_goal_is_learned(flow):
    flow.run(CALCULATOR)
    trust(flow)
    record = flow.submit(LOOKS_ALIKE)
    assert flow.dispatcher.decide(record).to_judge == flow.trace(CALCULATOR).trace_id
    outcome = flow.run(LOOKS_ALIKE)
    assert outcome.mode in (Mode.MIXED, Mode.LEARNER)
    assert "a judge says" in outcome.reason
    decision = flow.dispatcher.decide(flow.submit(LOOKS_ALIKE))
    assert decision.to_judge is None
    assert len(asked(flow)) == 1


def test_a_wrong_judge_loses_its_trust(flow):
    """The model, asked on probation, does otherwise: the yes is labelled wrong."""
    flow.run(CALCULATOR)
    flow.server.brain = WrongJudge(flow.server.families())
    flow.runtime.redis.hset(keys.judge(judge_name(flow)), "right", 250)
    (flow.area / "calculator.py").write_text("def add(a, b):\n    return a + b\n")
    outcome = flow.run("Write Python unit tests for calculator.py")
    assert outcome.mode is Mode.MIXED, outcome.reason
    record = flow.runtime.verdicts.record(judge_name(flow))
    assert (record.yes, record.wrong) == (1, 1)
    trust(flow, right=400)
    assert "on probation" in flow.run(REWORDED).reason


def test_bad_feedback_labels_the_judge_that_vouched(flow):
    flow.run(CALCULATOR)
    trust(flow, right=299)
    outcome = flow.run(REWORDED)
    assert outcome.mode is Mode.FOLLOWER
    goal = flow.runtime.goals.get(outcome.goal_id)
    apply_feedback(flow.runtime, make_feedback(goal, "bad", why="", by="ann", now=1.0))
    assert flow.runtime.verdicts.record(judge_name(flow)).wrong == 1
    assert flow.run(REWORDED).mode is not Mode.FOLLOWER
    assert flow.run(OTHER).mode is Mode.MIXED
    assert len(asked(flow)) == 2


def test_destructive_traces_need_two_votes(flow):
    flow.run(CALCULATOR)
    trace = flow.trace(CALCULATOR)
    flow.runtime.traces.save_trace(trace.model_copy(update={"destructive": True}))
    trust(flow)
    assert flow.run(REWORDED).mode is Mode.FOLLOWER
    assert len(asked(flow)) == 2


def test_a_resumed_goal_does_not_buy_its_verdict_again(flow, monkeypatch):
    """The run dies between the answer and the verdict; the next one reads the journal."""
    flow.run(CALCULATOR)
    trust(flow)
    record = flow.submit(REWORDED)
    flow.receive(record)

    class Killed(BaseException):
        pass

    def die(*_args, **_options):
        raise Killed

    monkeypatch.setattr(flow.runtime.verdicts, "keep", die)
    with pytest.raises(Killed):
        leased_run(Hop(record.goal_id), flow.runtime, judge_first)
    monkeypatch.undo()
    assert flow.runtime.goals.state(record.goal_id) is GoalState.RUNNING
    flow.runtime.redis.hset(keys.goal(record.goal_id), "lease_until", "0")
    result = flow.work(record)
    assert result.decision.mode is Mode.FOLLOWER
    assert len(asked(flow)) == 1


def test_equal_wordings_at_once_are_judged_once(flow):
    """Also where no flight holds them back."""
    flow.run(CALCULATOR)
    trust(flow)
    records = [flow.submit(REWORDED) for _ in range(4)]
    for record in records:
        decision = flow.dispatcher.decide(record)
        flow.runtime.goals.transition(record.goal_id, GoalState.DISPATCHED, decision=decision)
    found = []
    threads = [
        threading.Thread(target=lambda r=record: found.append(flow.work(r).decision.mode))
        for record in records
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [Mode.FOLLOWER] * 4
    assert len(asked(flow)) == 1


@pytest.mark.parametrize(
    "flow",
    [
        {"judge": {"backend": "none"}},
        {"memory": {"enable_llm_matching": False}},
        {"dispatcher": {"strategy": "forced-learner"}},
    ],
    indirect=True,
)
def test_nobody_is_asked_where_no_judge_is_wanted(flow):
    flow.run(CALCULATOR)
    assert flow.dispatcher.decide(flow.submit(REWORDED)).to_judge is None


def test_a_submitter_who_names_a_mode_gets_no_judge(flow):
    flow.run(CALCULATOR)
    assert flow.dispatcher.decide(flow.submit(REWORDED, mode="learner")).to_judge is None


def test_what_is_certainly_another_job_needs_no_judge(flow):
    flow.run(CALCULATOR)
    for goal in ("Create a JavaScript calculator", "Sort names.txt alphabetically"):
        assert flow.dispatcher.decide(flow.submit(goal)).to_judge is None


def test_what_could_not_be_followed_anyway_needs_no_judge(flow):
    flow.run(CALCULATOR)
    trace = flow.trace(CALCULATOR)
    flow.runtime.traces.save_trace(trace.model_copy(update={"proved": False}))
    assert flow.dispatcher.decide(flow.submit(REWORDED)).to_judge is None


def test_a_vetoed_wording_is_not_judged(flow):
    flow.run(CALCULATOR)
    flow.runtime.traces.add_veto(PROJECT, flow.trace(CALCULATOR).trace_id, REWORDED)
    assert flow.dispatcher.decide(flow.submit(REWORDED)).to_judge is None


def test_a_known_verdict_is_followed_without_another_call_once_its_judge_is_trusted(flow):
    flow.run(CALCULATOR)
    trace, name = flow.trace(CALCULATOR), judge_name(flow)
    verdict = StoredVerdict(judge=name, answer="yes", calls=calls_digest(trace))
    flow.runtime.verdicts.keep(trace, goal_signature(REWORDED), verdict)
    assert flow.dispatcher.decide(flow.submit(REWORDED)).mode is Mode.MIXED
    trust(flow)
    assert flow.run(REWORDED).mode is Mode.FOLLOWER
    assert asked(flow) == []


def test_a_verdict_that_came_out_wrong_is_not_asked_for_again(flow):
    flow.run(CALCULATOR)
    trace, name = flow.trace(CALCULATOR), judge_name(flow)
    verdict = StoredVerdict(judge=name, answer="yes", calls=calls_digest(trace))
    flow.runtime.verdicts.keep(trace, goal_signature(REWORDED), verdict)
    flow.runtime.verdicts.label(trace, goal_signature(REWORDED), right=False)
    flow.runtime.redis.hset(keys.judge(name), "right", 9_000)
    decision = flow.dispatcher.decide(flow.submit(REWORDED))
    assert (decision.mode is Mode.FOLLOWER, decision.to_judge) == (False, None)
    assert "said yes and was wrong" in decision.reason


def test_a_judge_is_not_told_of_a_goal_that_a_hook_refuses(flow):
    flow.run(CALCULATOR)
    root = flow.runtime.workspace.project(PROJECT).root
    (root / "no").write_text("#!/bin/sh\nexit 1\n")
    (root / "no").chmod(0o755)
    (root / "project.toml").write_text('hooks = [{use = "./no", events = ["UserPromptSubmit"]}]\n')
    outcome = flow.run(REWORDED)
    assert (outcome.status, asked(flow)) == ("FAILED", [])
    assert "the hook no failed" in outcome.error.message


COPY = "Copy a.txt to c.txt"
COPY_REWORDED = "It would be nice to have b.txt duplicated to d.txt as well"
COPY_AGAIN = "It would be nice to have e.txt duplicated to f.txt as well"


def files(flow):
    for name in ("a", "b", "e"):
        (flow.area / f"{name}.txt").write_text(f"{name}\n")


def test_a_wording_with_other_values_is_judged_by_its_own_calls(flow):
    """The judge sees the calls with the new values; its yes makes the wording known for all."""
    files(flow)
    flow.run(COPY)
    trust(flow)
    outcome = flow.run(COPY_REWORDED)
    assert (outcome.mode, outcome.llm_calls) == (Mode.FOLLOWER, 1), outcome.reason
    assert (flow.area / "d.txt").read_text() == "b\n"
    (alias,) = flow.trace(COPY).aliases
    assert alias == "It would be nice to have a.txt duplicated to c.txt as well"
    again = flow.run(COPY_AGAIN)
    assert (again.mode, again.llm_calls) == (Mode.FOLLOWER, 0), again.reason
    assert (flow.area / "f.txt").read_text() == "e\n"
    assert len(asked(flow)) == 1


def test_on_probation_the_calls_with_the_new_values_label_the_verdict(flow):
    files(flow)
    flow.run(COPY)
    outcome = flow.run(COPY_REWORDED)
    assert outcome.mode is Mode.MIXED
    record = flow.runtime.verdicts.record(judge_name(flow))
    assert (record.yes, record.right, record.wrong) == (1, 1, 0)
    assert (flow.area / "d.txt").read_text() == "b\n"
    assert flow.run(COPY_AGAIN).mode is Mode.FOLLOWER
