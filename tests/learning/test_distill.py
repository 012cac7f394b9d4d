"""From the record of a run to a trace: what is dropped, what is depended on, what is doubted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.learning.distill import RunFacts, distill
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_file import from_markdown, to_markdown
from tests.learning.runs import SPECS, bash, digest, read, spec, step, write

GOAL = "Create a calculator"


def run(
    *transcript: TraceStep, goal: str = GOAL, answer: str = "Done.", **more: Any
) -> ExecutionTrace:
    return distill(goal, transcript, answer=answer, specs=SPECS, **more)


def calls(trace: ExecutionTrace) -> Sequence[str]:
    return [
        f"{s.call.name} {s.call.arguments.get('path') or s.call.arguments.get('command')}"
        for s in trace.steps
    ]


def test_a_plain_run_becomes_a_proved_trace() -> None:
    facts = RunFacts(
        project="p",
        goal_id="g1",
        agent="coder",
        model="m",
        mode=Mode.MIXED,
        created_at="2026-11-21T10:00:00Z",
        cost_micro=450_000,
        usage=Usage(input_tokens=5),
        duration_s=3.5,
    )
    trace = run(write("c.py", "x"), bash("python c.py", "4\n", turn=2), facts=facts)
    assert calls(trace) == ["Write c.py", "Bash python c.py"]
    assert trace.proved
    assert trace.error_notes == ""
    assert trace.trace_id == trace.goal_signature == goal_signature(GOAL)
    assert (trace.project, trace.learned_from, trace.agent, trace.model) == (
        "p",
        "g1",
        "coder",
        "m",
    )
    assert (trace.goal_text, trace.mode, trace.learn_cost_micro) == (GOAL, Mode.MIXED, 450_000)
    assert trace.outputs == (digest("c.py", "x"),)
    assert trace.output_summary == "Leaves c.py."
    assert all(s.call.call_id == "" for s in trace.steps)
    assert from_markdown(to_markdown(trace)) == trace


def test_failed_calls_and_their_failed_retries_are_dropped() -> None:
    trace = run(
        bash("python c.py", "boom", ok=False),
        bash("python c.py", "boom", turn=2, ok=False),
        write("c.py", "x", turn=3),
        step("Bash", 4, {"command": "check"}, output='{"success": false, "error": "no"}'),
        bash("python c.py", "4", turn=5),
    )
    assert calls(trace) == ["Write c.py", "Bash python c.py"]
    assert trace.proved


def test_a_failed_call_that_changed_files_is_doubted() -> None:
    trace = run(
        bash("make", ok=False, writes={"half.o": "1"}),
        write("c.py", "x", turn=2),
    )
    assert not trace.proved
    assert "half.o" in trace.error_notes


def test_caches_are_neither_inputs_nor_results() -> None:
    pyc = "__pycache__/c.pyc"
    trace = run(
        write("c.py", "x"),
        bash("python c.py", ok=False, turn=2, writes={pyc: "1"}),
        write("c.py", "y", turn=3),
        bash("python c.py", "4", turn=4, reads={pyc: "1"}, writes={pyc: "2"}),
    )
    assert trace.proved
    assert [file.path for file in trace.outputs] == ["c.py"]
    assert trace.inputs == ()


def test_a_write_that_is_repeated_unread_is_dropped_once() -> None:
    trace = run(write("a.txt", "1"), write("b.txt", "2", turn=2), write("a.txt", "1", turn=3))
    assert calls(trace) == ["Write b.txt", "Write a.txt"]


def test_a_repeated_call_stays_when_something_may_have_seen_the_first() -> None:
    seen = run(write("a.txt", "1"), bash("cat a.txt", "1", turn=2), write("a.txt", "1", turn=3))
    assert len(seen.steps) == 3
    between = run(read("in.txt", "1"), write("b.txt", "1", turn=2), read("in.txt", "1", turn=3))
    assert calls(between)[:2] == ["Read in.txt", "Write b.txt"]
    other = run(write("a.txt", "1"), write("a.txt", "2", turn=2), write("a.txt", "1", turn=3))
    assert len(other.steps) == 3
    twice = run(bash("echo x >> log", turn=1), bash("echo x >> log", turn=2))
    assert len(twice.steps) == 2
    glob = step("Glob", 2, {"pattern": "*"}, output="a.txt")
    assert len(run(write("a.txt", "1"), glob, write("a.txt", "1", turn=3)).steps) == 3


def test_looking_back_at_the_end_is_dropped_and_reading_for_the_answer_is_not() -> None:
    trace = run(write("a.txt", "1"), read("a.txt", "1", turn=2), read("a.txt", "1", turn=3))
    assert calls(trace) == ["Write a.txt"]
    asked = run(read("notes.txt", "buy milk"), answer="Milk.")
    assert calls(asked) == ["Read notes.txt"]
    assert asked.inputs == (digest("notes.txt", "buy milk"),)
    assert asked.proved


def test_inputs_are_what_was_read_before_the_run_wrote_it() -> None:
    trace = run(
        read("sales.csv", "1,2"),
        write("report.md", "3", turn=2),
        bash("wc report.md data.txt", turn=3, reads={"report.md": "3", "data.txt": "d"}),
        step("Edit", 4, {"path": "data.txt"}, reads={"data.txt": "d"}, writes={"data.txt": "e"}),
        bash("cat data.txt", "e", turn=5, reads={"data.txt": "e"}),
    )
    assert trace.inputs == (digest("data.txt", "d"), digest("sales.csv", "1,2"))
    assert trace.outputs == (digest("data.txt", "e"), digest("report.md", "3"))
    assert trace.proved


def test_what_a_dropped_call_read_is_still_an_input() -> None:
    trace = run(
        bash("python check.py", "bad", ok=False, reads={"check.py": "c"}),
        write("a.txt", "1", turn=2),
    )
    assert trace.inputs == (digest("check.py", "c"),)


def test_a_file_looked_for_in_vain_is_an_input_unless_the_run_made_it() -> None:
    missing = step("Read", 1, {"path": "./conf.ini"}, output="no such file", ok=False)
    trace = run(missing, write("a.txt", "defaults", turn=2))
    assert trace.inputs == (digest("conf.ini", None),)
    assert run(missing, write("conf.ini", "x", turn=2)).inputs == ()


def test_effects_outside_the_project_are_not_proved() -> None:
    mail = step("SendMail", 1, {"to": "bob@example.org"})
    assert "outside the project" in run(mail).error_notes
    assert not run(mail).proved
    assert not run(step("Unknown", 1, {})).proved


def test_a_run_whose_calls_all_failed_is_not_proved() -> None:
    trace = run(bash("x", ok=False), answer="I could not do it.")
    assert (trace.steps, trace.proved) == ((), False)
    assert not run(answer=" ").proved
    assert run(answer="42").proved


def test_deleting_what_was_there_is_destructive() -> None:
    assert run(bash("rm old.txt", writes={"old.txt": None})).destructive
    assert run(step("Wipe", 1, {})).destructive
    own = run(write("tmp", "1"), bash("rm tmp", turn=2, writes={"tmp": None}))
    assert not own.destructive


def test_values_of_the_goal_become_slots() -> None:
    trace = run(bash("wc -l sales.csv", "3"), goal="Count the lines of sales.csv")
    assert [slot.value for slot in trace.slots] == ["sales.csv"]


def test_declared_slots_come_first_and_names_stay_apart() -> None:
    declared = [Slot(name="file", value="sales.csv", declared=True)]
    trace = run(
        bash("join sales.csv costs.csv", "3"),
        goal="Join sales.csv and costs.csv",
        declared=declared,
    )
    assert trace.slots[0] == declared[0]
    assert sorted(slot.value for slot in trace.slots) == ["costs.csv", "sales.csv"]
    assert len({slot.name for slot in trace.slots}) == 2


def test_hidden_parameters_and_taint_are_kept() -> None:
    trace = run(write("a", "1"), hidden=("port 8080",), facts=RunFacts(tainted=True))
    assert trace.hidden == ("port 8080",)
    assert trace.tainted


def test_an_answer_that_is_no_text_can_still_be_stored() -> None:
    trace = run(answer="half \ud83d")
    assert from_markdown(to_markdown(trace)) == trace


def test_the_specs_of_these_tests_say_what_the_real_tools_say() -> None:
    from llmos_workers.execution.tools.bash import BashTool
    from llmos_workers.execution.tools.files import EditTool, ReadTool, WriteTool

    for tool in (BashTool, EditTool, ReadTool, WriteTool):
        mine = SPECS[tool.spec.name]
        assert (mine.effect, mine.informative) == (tool.spec.effect, tool.spec.informative)
    assert spec("x", SPECS["Read"].effect, informative=True).version
