"""The scripted model's notes on its own runs hold by the rules that check any model's."""

import json

import pytest

from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.learning.notes import SCHEMA, question, read_notes
from llmos_workers.rehearsal.brain import Brain
from llmos_workers.rehearsal.skills import load_families

FAMILIES = load_families()
BRAIN = Brain(FAMILIES)


def notes_on(goal, *arguments):
    steps = [TraceStep(call=ToolCall(name="Write", arguments=each)) for each in arguments]
    reply = BRAIN.reply(
        {
            "messages": [{"role": "user", "content": question(goal, steps)}],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        }
    )
    assert reply.stop_reason == "end_turn"
    text = reply.content[0]["text"]
    return json.loads(text), read_notes(text, goal, steps)


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_the_notes_on_a_family_s_example_have_the_asked_form_and_hold(family):
    _, values = BRAIN.recognise(family.example)
    said, believed = notes_on(family.example, values)
    assert set(said) == set(SCHEMA["required"])
    assert {slot.name for slot in believed.slots} == {slot["name"] for slot in said["slots"]}
    assert set(believed.paraphrases) <= set(said["paraphrases"])
    assert bool(believed.paraphrases) == bool(family.paraphrases)


def test_what_a_script_makes_of_a_value_is_hidden():
    said, believed = notes_on(
        "Convert staff.csv to JSON", {"path": "staff.csv"}, {"path": "staff.json"}
    )
    assert [slot.value for slot in believed.slots] == ["staff.csv"]
    assert said["hidden_parameters"] == ["staff.json"]


def test_of_a_goal_without_a_script_there_is_nothing_to_note():
    said, _ = notes_on("Make me a sandwich", {"path": "sandwich"})
    assert (said["template"], said["slots"], said["paraphrases"]) == ("Make me a sandwich", [], [])
