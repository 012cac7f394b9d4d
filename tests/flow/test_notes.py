"""The learner's notes: asked for once, paid, checked, and never a reason to fail a goal."""

import json

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.notes import PURPOSE
from tests.flow.conftest import PROJECT
from tests.support.script import calls, says, text, use

pytestmark = pytest.mark.parametrize(
    "flow", [{"learning": {"notes_share": 1_000.0}}], indirect=True, ids=["notes"]
)

GOAL = "Write a greeting for Grace into card.txt"
NOTES = {
    "template": "Write a greeting for {who} into {file}",
    "slots": [
        {"name": "who", "type": "name", "value": "Grace"},
        {"name": "file", "type": "path", "value": "card.txt"},
    ],
    "paraphrases": ["Put a greeting for Grace into card.txt", "Delete card.txt"],
    "hidden_parameters": [],
    "destructive": False,
}
WRITE = calls(use("Write", path="card.txt", content="Hello, Grace!\n"))
DONE = says(text("Greeted."))


def noted(**changes):
    return says(text(json.dumps(NOTES | changes)))


def learn(flow, notes, *, write=WRITE):
    flow.model(write, DONE, notes)
    return flow.run(GOAL)


def test_what_the_model_noted_is_followed_with_other_values(flow):
    learn(flow, noted())
    trace = flow.trace(GOAL)
    assert [(slot.name, slot.declared) for slot in trace.slots] == [("who", True), ("file", True)]
    assert trace.proved
    outcome = flow.run("Write a greeting for Linus into hi.txt")
    assert outcome.mode is Mode.FOLLOWER
    assert (flow.area / "hi.txt").read_text() == "Hello, Linus!\n"


def test_a_paraphrase_that_holds_is_another_wording(flow):
    learn(flow, noted())
    assert flow.trace(GOAL).aliases == ("Put a greeting for Grace into card.txt",)
    assert flow.run("Put a greeting for Grace into card.txt").mode is Mode.FOLLOWER


def test_the_notes_are_paid_for_by_the_goal_and_no_part_of_what_a_replay_saves(flow):
    outcome = learn(flow, noted())
    settled = flow.ledger("settle")
    assert [entry.purpose for entry in settled] == ["learn", "learn", PURPOSE]
    assert sum(entry.micro for entry in settled) == outcome.cost_micro
    assert outcome.llm_calls == 3
    assert flow.trace(GOAL).learn_cost_micro == outcome.cost_micro - settled[-1].micro


def test_the_notes_are_a_structured_output_of_goal_and_calls(flow):
    script = flow.model(WRITE, DONE, noted())
    flow.run(GOAL)
    asked = script.requests[-1]
    assert asked["output_config"]["format"]["type"] == "json_schema"
    assert "tools" not in asked
    assert "Hello, Grace!" in json.dumps(asked["messages"])


def test_with_a_hidden_parameter_only_the_very_wording_is_followed(flow):
    write = calls(use("Write", path="card.txt", content="Hello, Grace! Port 8080.\n"))
    learn(flow, noted(hidden_parameters=["8080"]), write=write)
    trace = flow.trace(GOAL)
    assert (trace.hidden, trace.proved) == (("8080",), True)
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    flow.model(write, DONE)
    outcome = flow.run("Write a greeting for Linus into hi.txt")
    assert outcome.mode is Mode.MIXED
    assert "does not say (8080)" in outcome.reason


def test_a_slot_that_leaves_its_old_value_behind_is_none_whatever_the_model_says(flow):
    script = "import base64; print(base64.b64decode('R3JhY2U=').decode(), 'card.txt')"
    write = calls(use("Bash", command=f'python3 -c "{script}" Grace > card.txt'))
    learn(flow, noted(), write=write)
    assert [slot.value for slot in flow.trace(GOAL).fixed] == ["Grace"]


def test_a_trace_that_destroys_by_the_model_s_word_says_so(flow):
    learn(flow, noted(destructive=True))
    assert flow.trace(GOAL).destructive


@pytest.mark.parametrize("answer", [says(text("no JSON")), says(text("No."), stop="refusal")])
def test_notes_that_cannot_be_read_cost_no_trace(flow, answer):
    assert learn(flow, answer).learned_trace_id
    assert flow.trace(GOAL).proved


def test_an_endpoint_that_fails_costs_no_trace(flow):
    flow.model(WRITE, DONE, noted())
    flow.server.faults.next("stop_reason:tool_use", "stop_reason:end_turn", "spend_limit")
    outcome = flow.run(GOAL)
    assert (outcome.status, outcome.llm_calls) == ("SUCCEEDED", 2)
    assert flow.trace(GOAL).proved


def test_notes_that_are_not_worth_their_price_are_not_asked_for(flow):
    flow.model(WRITE, DONE, noted())
    config = flow.runtime.config.learning.model_copy(update={"notes_share": 0.0})
    flow.runtime.config = flow.runtime.config.model_copy(update={"learning": config})
    outcome = flow.run(GOAL)
    assert (outcome.llm_calls, outcome.learned_trace_id is not None) == (2, True)


def test_a_healed_trace_keeps_its_notes_and_pays_no_second_ones(flow):
    learn(
        flow,
        noted(),
        write=calls(use("Bash", command="cat in.txt 2>/dev/null; echo Hello, Grace! > card.txt")),
    )
    first = flow.trace(GOAL)
    flow.runtime.traces.update_trace_stats(PROJECT, first.trace_id, success=False)
    flow.runtime.traces.update_trace_stats(PROJECT, first.trace_id, success=False)
    flow.model(WRITE, DONE)
    outcome = flow.run(GOAL)
    assert (outcome.mode, outcome.llm_calls) == (Mode.MIXED, 2)
    trace = flow.trace(GOAL)
    assert trace.version == 2
    assert [slot.name for slot in trace.slots if slot.declared] == ["who", "file"]
