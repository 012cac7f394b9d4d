"""The judge's question and answer: pure, and closed against everything that is no clear yes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.learning.judge import (
    MAX_CALLS_CHARS,
    NO,
    UNSURE,
    YES,
    Question,
    ask_text,
    question,
    read_verdict,
)

ASKED = Question(
    "Copy a.txt to b.txt", "Duplicate a.txt as b.txt", ("says 'Copy'", "says 'as'"), "[]"
)


def answer(verdict=YES, numbers=(1, 2), harmless=True, open_end=""):
    items = [{"number": n, "harmless": harmless, "why": "w"} for n in numbers]
    return json.dumps({"differences": items, "missing_or_extra": open_end, "verdict": verdict})


def trace_of(*arguments, goal="Copy sales.csv to backup.csv"):
    steps = tuple(TraceStep(call=ToolCall(name="Bash", arguments=a)) for a in arguments)
    return ExecutionTrace(
        trace_id="0" * 16,
        goal_signature="0" * 16,
        goal_text=goal,
        steps=steps,
        slots=(Slot(name="source", value="sales.csv"),),
    )


def candidate(**values):
    return MatchCandidate(
        trace_id="0" * 16, goal_text="", stage="structure", confidence=0.4,
        slots=values, differed=("only the new goal says 'Duplicate'",),
    )  # fmt: skip


def test_a_yes_needs_each_difference_judged_harmless():
    assert read_verdict(answer(), ASKED).answer == YES


@pytest.mark.parametrize(
    "text",
    [
        answer(numbers=(1,)),
        answer(numbers=(1, 1)),
        answer(numbers=(1, 2, 3)),
        answer(harmless=False),
        answer(open_end="the new goal wants a checksum too"),
        answer(verdict="YES"),
        answer().replace("true", '"true"', 1),
        answer().replace('"number": 1', '"number": true'),
        answer()[:-1],
        "yes",
        "",
        "null",
        "[]",
        "{}",
    ],
)
def test_everything_but_a_clear_yes_is_none(text):
    assert read_verdict(text, ASKED).answer == UNSURE


def test_a_yes_that_was_cut_off_is_none():
    assert read_verdict(answer(), ASKED, whole=False).answer == UNSURE


def test_a_no_is_a_no_with_its_reasons():
    verdict = read_verdict(answer(NO, harmless=False), ASKED)
    assert (verdict.answer, verdict.reasons) == (NO, ("w", "w"))


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(
           st.sampled_from(["verdict", "differences", "missing_or_extra", "number"]), inner),
       ).map(json.dumps))  # fmt: skip
def test_no_answer_of_any_shape_raises_or_becomes_a_yes(text):
    assert read_verdict(text, ASKED).answer in (NO, UNSURE)


@given(st.text(), st.text(), st.lists(st.text(), max_size=4))
def test_no_text_leaves_its_tag(goal, new, differences):
    shown = ask_text(Question(goal, new, tuple(differences), "[]"))
    for tag in ("recorded_goal", "recorded_calls", "new_goal", "differences"):
        assert shown.count(f"<{tag}>") == shown.count(f"</{tag}>") == 1


def test_the_calls_are_shown_with_the_slots_filled():
    asked = question(
        trace_of({"command": "cp sales.csv backup.csv"}), candidate(source="p.csv"), "x"
    )
    assert asked is not None
    assert "cp p.csv backup.csv" in asked.calls
    assert asked.differences == ("only the new goal says 'Duplicate'",)


def test_what_cannot_be_shown_whole_is_not_judged():
    long = trace_of({"content": "x" * (MAX_CALLS_CHARS + 1)})
    assert question(long, candidate(), "x") is None
    assert question(trace_of(), candidate(), "x") is None
