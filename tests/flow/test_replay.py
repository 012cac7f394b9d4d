"""Replay: it ends in an outcome, or hands what it did to a model; and it is counted once."""

import os
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import Cancelled, DeadlineExceeded, LeaseLost
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.replay_parts import Handover
from tests.kernel.goal_support import expire_lease
from tests.support.script import calls, says, text, use
from tests.support.wait import wait_until

NOTES = "Note the Markdown files of the project in list.txt"
LIST = "List all Markdown files"
CALCULATOR = "Create a Python calculator"

LIST_FILES = calls(use("Bash", 2, command="ls *.md"))


def learn_notes(flow) -> None:
    """A trace whose second step informs the third."""
    flow.model(
        calls(use("Write", 1, path="a.md", content="a\n")),
        LIST_FILES,
        calls(use("Write", 3, path="list.txt", content="a.md\n")),
        says(text("Noted.")),
    )
    assert flow.run(NOTES).ok
    for path in flow.area.iterdir():
        path.unlink()


def heal(flow):
    return flow.model(
        calls(use("Write", 4, path="list.txt", content="a.md\nb.md\n")), says(text("Two."))
    )


def test_a_replay_answers_in_the_learner_s_words_and_says_from_when(flow):
    learned = flow.run(CALCULATOR)
    again = flow.run(CALCULATOR)
    assert (again.mode, again.text, again.llm_calls) == (Mode.FOLLOWER, learned.text, 0)
    assert again.replayed_from == flow.trace(CALCULATOR).created_at


def test_a_changed_middle_output_hands_over_with_the_steps_done(flow):
    learn_notes(flow)
    (flow.area / "b.md").write_text("b\n")
    record = flow.submit(NOTES)
    handed = flow.replay(record, flow.dispatcher.decide(record))
    assert isinstance(handed, Handover)
    assert [step.call.name for step in handed.done] == ["Write", "Bash"]
    assert handed.done[1].output.split() == ["a.md", "b.md"]
    assert handed.decision.mode is Mode.MIXED
    assert "step 2 of the replay differed" in handed.decision.reason
    assert not (flow.area / "list.txt").exists()


def test_a_replay_leaves_syncing_to_its_publishing_or_to_whom_it_hands_over(flow, monkeypatch):
    learn_notes(flow)
    synced = []
    real = os.fsync

    def fsync(fd):
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    (flow.area / "b.md").write_text("b\n")
    record = flow.submit(NOTES)
    assert isinstance(flow.replay(record, flow.dispatcher.decide(record)), Handover)
    assert synced == ["a.md"]


def test_the_model_goes_on_from_what_the_replay_did(flow):
    learn_notes(flow)
    (flow.area / "b.md").write_text("b\n")
    script = heal(flow)
    outcome = flow.run(NOTES)
    assert (outcome.status, outcome.mode, outcome.llm_calls) == ("SUCCEEDED", Mode.MIXED, 2)
    assert [d.mode for d in flow.decisions] == [Mode.FOLLOWER, Mode.MIXED]
    asked = script.requests[0]["messages"][0]["content"][0]["text"]
    assert "<done_so_far>" in asked
    assert "b.md" in asked
    assert [call.name for call in outcome.tool_calls] == ["Write", "Bash", "Write"]
    assert [file.path for file in outcome.files] == ["a.md", "list.txt"]


def test_a_healed_trace_is_its_next_version_and_is_followed(flow):
    learn_notes(flow)
    (flow.area / "b.md").write_text("b\n")
    heal(flow)
    healed = flow.run(NOTES)
    assert healed.learned_trace_id == flow.trace(NOTES).trace_id
    assert flow.trace(NOTES).version == 2
    again = flow.run(NOTES)
    assert (again.mode, again.trace_version) == (Mode.FOLLOWER, 2)
    assert (flow.area / "list.txt").read_text() == "a.md\nb.md\n"


def test_a_run_under_another_wording_heals_the_trace_it_followed(flow):
    learn_notes(flow)
    other = "Put a list of the Markdown files into list.txt"
    flow.runtime.traces.add_alias("demo", flow.trace(NOTES).trace_id, other)
    (flow.area / "b.md").write_text("b\n")
    heal(flow)
    assert flow.run(other).mode is Mode.MIXED
    assert flow.run(other).mode is Mode.FOLLOWER
    assert flow.run(NOTES).mode is Mode.FOLLOWER


def test_an_answer_that_rests_on_another_text_now_goes_to_a_model(flow):
    (flow.area / "a.md").write_text("a\n")
    assert flow.run(LIST).ok
    assert flow.run(LIST).mode is Mode.FOLLOWER
    (flow.area / "b.md").write_text("b\n")
    outcome = flow.run(LIST)
    assert (outcome.mode, outcome.ok) == (Mode.MIXED, True)
    assert "another text now" in outcome.reason
    assert "b.md" in outcome.text


def test_a_replay_that_did_not_answer_is_no_success_and_saved_nothing(flow):
    (flow.area / "a.md").write_text("a\n")
    assert flow.run(LIST).ok
    (flow.area / "b.md").write_text("b\n")
    record = flow.submit(LIST)
    assert isinstance(flow.replay(record, flow.dispatcher.decide(record)), Handover)
    trace = flow.trace(LIST)
    assert (trace.usage_count, trace.success_count, trace.failure_streak) == (1, 0, 1)
    assert flow.ledger("saved") == []


def test_use_and_saving_are_counted_once_for_a_goal_that_ran_twice(flow):
    learned = flow.run(CALCULATOR)
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)
    for _ in range(2):
        assert flow.replay(record, decision).ok
    trace = flow.trace(CALCULATOR)
    assert (trace.usage_count, trace.success_count) == (1, 1)
    (saved,) = flow.ledger("saved")
    assert (saved.saved_micro, saved.goal_id) == (learned.cost_micro, record.goal_id)
    assert trace.total_saved_micro == learned.cost_micro


def test_a_failure_is_counted_once_too(flow):
    learn_notes(flow)
    (flow.area / "b.md").write_text("b\n")
    record = flow.submit(NOTES)
    decision = flow.dispatcher.decide(record)
    for _ in range(2):
        flow.replay(record, decision)
    assert (flow.trace(NOTES).usage_count, flow.trace(NOTES).failure_streak) == (1, 1)


def test_a_trace_of_another_version_than_decided_is_not_followed(flow):
    assert flow.run(CALCULATOR).ok
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)
    flow.runtime.traces.save_trace(flow.trace(CALCULATOR))
    (flow.area / "calculator.py").unlink()
    handed = flow.replay(record, decision)
    assert isinstance(handed, Handover)
    assert "became version 2" in handed.decision.reason
    assert (handed.done, list(flow.area.iterdir())) == ((), [])
    assert flow.trace(CALCULATOR).usage_count == 0


def test_a_trace_that_is_gone_is_not_followed(flow):
    assert flow.run(CALCULATOR).ok
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)
    flow.runtime.traces.remove("demo", decision.trace_id)
    handed = flow.replay(record, decision)
    assert isinstance(handed, Handover)
    assert "is gone" in handed.decision.reason


def test_a_cancelled_replay_ends_as_cancelled(flow):
    assert flow.run(CALCULATOR).ok
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)

    def cancel(_keeper) -> None:
        flow.runtime.goals.request_cancel(record.goal_id)

    with pytest.raises(Cancelled):
        flow.replay(record, decision, after_start=cancel)
    assert flow.trace(CALCULATOR).usage_count == 0


def test_a_replay_past_its_deadline_starts_no_step(flow):
    assert flow.run(CALCULATOR).ok
    (flow.area / "calculator.py").unlink()
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)
    with pytest.raises(DeadlineExceeded):
        flow.replay(record, decision, deadline=flow.runtime.clock.now() - 1)
    assert list(flow.area.iterdir()) == []


def test_a_run_that_lost_its_lease_counts_nothing(flow, state):
    assert flow.run(CALCULATOR).ok
    record = flow.submit(CALCULATOR)
    decision = flow.dispatcher.decide(record)

    def steal(keeper) -> None:
        expire_lease(state, record.goal_id)
        flow.runtime.goals.acquire(record.goal_id, owner="another", ttl_s=30)
        wait_until(lambda: keeper.lost, what="the keeper sees it")

    with pytest.raises(LeaseLost):
        flow.replay(record, decision, after_start=steal)
    assert flow.runtime.goals.state(record.goal_id) is GoalState.RUNNING
    assert flow.trace(CALCULATOR).usage_count == 0
    assert flow.runtime.economy.scope("global")["saved"] == 0


def test_a_model_that_finds_nothing_left_to_do_does_not_replace_the_trace(flow):
    """Its word that all is there would be replayed when it is there no longer."""
    learn_notes(flow)
    (flow.area / "b.md").write_text("b\n")
    (flow.area / "a.md").write_text("changed\n")
    flow.model(says(text("The list is there already.")))
    asked = flow.run(NOTES, mode="MIXED")
    assert (asked.mode, asked.learned_trace_id) == (Mode.MIXED, None)
    trace = flow.trace(NOTES)
    assert (trace.version, len(trace.steps)) == (1, 3)
