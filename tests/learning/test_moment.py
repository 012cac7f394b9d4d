"""Goals that ask about a moment: what no file tells a replay."""

import pytest

from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.learning.edge_item import _misfits
from llmos_workers.learning.moment import day_in, moment_in, time_blockers

DAY, NEXT = "2026-11-22", "2026-11-23"


def trace(goal, *steps):
    return ExecutionTrace(
        trace_id="t",
        goal_signature="t",
        goal_text=goal,
        steps=steps,
        created_at=f"{DAY}T23:59:59Z",
    )


def made(text="x", *, informative=False, name="Write"):
    call = ToolCall(name=name, arguments={"content": text})
    return TraceStep(call=call, informative=informative)


LOOKS = made(informative=True, name="Bash")


@pytest.mark.parametrize(
    "goal",
    [
        "Write today's date into day.txt",
        "Which files changed since yesterday?",
        "Summarise the last 3 days of sales.csv",
        "List the orders of this week",
        "What day is it?",
        "Fasse die Umsätze von heute zusammen",
    ],
)
def test_a_goal_about_a_day_is_followed_on_that_day_only(goal):
    known = trace(goal, LOOKS)
    assert time_blockers(known, DAY) == []
    [why] = time_blockers(known, NEXT)
    assert f"was learned on {DAY}" in why


@pytest.mark.parametrize(
    "goal", ["What is the current time?", "Tell me the time", "How is the weather right now"]
)
def test_a_goal_about_the_clock_needs_calls_that_look(goal):
    assert time_blockers(trace(goal, made()), DAY)
    assert not time_blockers(trace(goal, LOOKS), NEXT), "what they say is compared at each replay"


@pytest.mark.parametrize(
    "goal",
    ["Who is the president now?", "What is the latest Python?", "Is it still current?",
     "What was sold yesterday?", "What time is it?"],
)  # fmt: skip
def test_words_alone_do_not_answer_for_another_moment(goal):
    [why] = time_blockers(trace(goal), DAY)
    assert "its answer was no more than words" in why


@pytest.mark.parametrize(
    "goal",
    ["Summarise yesterday.log", "Write 'today' into a.txt", "Rename today_notes.md to old.md",
     "Now write a haiku about autumn", "List the files in the current directory",
     "Measure the time of the sort", "Add a weekday column to dates.csv"],
)  # fmt: skip
def test_names_quotes_and_other_uses_mean_no_moment(goal):
    assert (day_in(goal), moment_in(goal)) == ("", "")
    assert not time_blockers(trace(goal, LOOKS), NEXT)


@pytest.mark.parametrize(
    "date",
    ["2026-11-22", "20261122", "22.11.2026", "11/22/2026", "November 22, 2026", "22 Nov 2026"],
)
def test_the_day_of_learning_in_the_calls_is_a_hidden_parameter(date):
    known = trace("Write the report", made(f"Report of {date}\n"))
    assert not time_blockers(known, DAY)
    assert date in time_blockers(known, NEXT)[0]
    assert not time_blockers(trace(f"Write the report of {date}", made(date)), NEXT)
    assert not time_blockers(trace("Write the report", made("Report of 2026-11-21")), NEXT)
    assert not time_blockers(trace("Write the report", made(f"id {date}9")), NEXT)


def test_devices_get_no_goals_about_a_moment():
    assert "its goal asks about a moment" in _misfits(trace("Show today's log", LOOKS))
