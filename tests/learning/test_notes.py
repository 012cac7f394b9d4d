"""What a model says of its own run is believed only as far as it can be checked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.learning.notes import MAX_PARAPHRASES, Notes, question, read_notes
from tests.learning.runs import bash, write
from tests.learning.trace_strategies import json_values

GOAL = "Count the lines of sales.csv"
STEPS = [bash("wc -l sales.csv > n.txt")]
SLOT = {"name": "file", "type": "path", "value": "sales.csv"}


def believed(goal=GOAL, steps=STEPS, known=lambda _signature: False, **said) -> Notes:
    answer = {
        "template": "Count the lines of {file}",
        "slots": [SLOT],
        "paraphrases": [],
        "hidden_parameters": [],
        "destructive": False,
    } | said
    return read_notes(json.dumps(answer), goal, steps, known=known)


def test_slots_of_a_template_that_gives_the_goal_back_are_declared() -> None:
    (slot,) = believed().slots
    assert (slot.name, slot.value, slot.declared) == ("file", "sales.csv", True)


@pytest.mark.parametrize(
    "said",
    [
        {"template": "Count the words of {file}"},
        {"template": "Count the lines of sales.csv"},
        {"template": "Count the lines of {file} {file}"},
        {"slots": [SLOT | {"value": "costs.csv"}]},
        {"slots": [SLOT | {"type": "colour"}]},
        {"slots": [SLOT, SLOT]},
        {"slots": [SLOT | {"name": "../x"}]},
        {"slots": [{"name": "file"}]},
        {"slots": "sales.csv"},
    ],
)
def test_slots_that_do_not_add_up_are_dropped(said) -> None:
    assert believed(**said).slots == ()


def test_a_value_that_the_calls_do_not_hold_is_no_slot() -> None:
    assert believed(steps=[write("n.txt", "3\n")]).slots == ()


def test_paraphrases_with_the_same_values_are_kept() -> None:
    kept = believed(paraphrases=["How many lines are in sales.csv?"]).paraphrases
    assert kept == ("How many lines are in sales.csv?",)


@pytest.mark.parametrize(
    "text",
    [
        "Count the lines of costs.csv",
        "Delete sales.csv",
        "Count the lines of sales.csv.",
        "Do not count the lines of sales.csv",
        "Count \x1b[31mthe lines in sales.csv",
        "Count the lines in sales.csv " + "please " * 60,
        " ",
        7,
    ],
)
def test_what_is_another_goal_or_the_same_is_no_paraphrase(text) -> None:
    assert believed(paraphrases=[text]).paraphrases == ()


def test_the_goal_of_another_trace_is_no_paraphrase() -> None:
    text = "How many lines are in sales.csv?"
    assert believed(paraphrases=[text], known=lambda _: True).paraphrases == ()


def test_there_are_only_so_many_paraphrases() -> None:
    many = [f"Count {'all ' if n else ''}the lines in sales.csv{' now' * n}" for n in range(20)]
    assert len(believed(paraphrases=many).paraphrases) <= MAX_PARAPHRASES


def test_hidden_parameters_stand_in_the_calls_and_not_in_the_goal() -> None:
    said = ["n.txt", "sales.csv", "not there", "", 5, "n.txt"]
    assert believed(hidden_parameters=said).hidden == ("n.txt",)


def test_what_holds_a_slot_is_not_hidden() -> None:
    steps = [write("hello.py", "print('Hello, Grace!')\n")]
    notes = believed(
        goal="Greet Grace",
        steps=steps,
        template="Greet {who}",
        slots=[{"name": "who", "type": "name", "value": "Grace"}],
        hidden_parameters=["Hello, Grace!", "hello.py"],
    )
    assert notes.hidden == ("hello.py",)


def test_destructive_is_believed_only_as_a_plain_yes() -> None:
    assert believed(destructive=True).destructive
    assert not believed(destructive="maybe").destructive


@given(answer=st.one_of(st.text(max_size=60), json_values.map(json.dumps)))
def test_no_answer_is_an_error(answer) -> None:
    assert isinstance(read_notes(answer, GOAL, STEPS), Notes)


@given(
    slots=json_values, template=json_values, paraphrases=json_values, hidden_parameters=json_values
)
def test_no_wrong_form_is_an_error(**said) -> None:
    assert isinstance(believed(**said), Notes)


def test_the_question_shows_goal_and_calls_apart() -> None:
    asked = question(GOAL, STEPS)
    assert asked.endswith(f"<goal>\n{GOAL}\n</goal>")
    assert '"wc -l sales.csv > n.txt"' in asked
