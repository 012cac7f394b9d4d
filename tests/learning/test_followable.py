"""May it be replayed now? Every dependency that changed is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.tools import ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, Slot, Standing, TraceStep
from llmos_workers.learning.answers import needs_model, replay_answer, without_date
from llmos_workers.learning.distill import RunFacts, distill
from llmos_workers.learning.followable import replay_blockers
from tests.learning.runs import SPECS, VERSIONS, bash, digest, read, step, write

WHEN = "2026-11-20T10:00:00Z"


def learn(
    *transcript: TraceStep, goal: str = "Do it", answer: str = "Done.", **more: Any
) -> ExecutionTrace:
    facts = RunFacts(created_at=WHEN)
    trace = distill(goal, transcript, answer=answer, specs=SPECS, facts=facts, **more)
    return trace.model_copy(update={"standing": Standing.SIGNED})


def blockers(trace: ExecutionTrace, area: Path, **slots: str) -> tuple[str, ...]:
    return replay_blockers(trace, slots, area, VERSIONS)


def test_nothing_changed_nothing_blocks(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("1")
    trace = learn(read("in.txt", "1"), write("out.txt", "2", turn=2))
    assert blockers(trace, tmp_path) == ()
    assert blockers(learn(answer="42"), tmp_path) == ()


def test_a_changed_a_missing_and_a_new_input_are_named(tmp_path: Path) -> None:
    trace = learn(
        bash("cat a b", "12", reads={"a": "1", "b": "2"}),
        step("Read", 1, {"path": "c"}, ok=False),
        write("out", "3", turn=2),
    )
    (tmp_path / "a").write_text("changed")
    (tmp_path / "c").write_text("now it is there")
    assert blockers(trace, tmp_path) == (
        f"the input a changed since {WHEN}",
        "the input b is missing",
        f"the input c was not there on {WHEN}",
    )


def test_an_input_that_became_a_link_outside_is_refused(tmp_path: Path) -> None:
    area, outside = tmp_path / "area", tmp_path / "secret"
    area.mkdir()
    outside.write_text("1")
    (area / "in.txt").symlink_to(outside)
    trace = learn(read("in.txt", "1"))
    assert "cannot be read" in blockers(trace, area)[0]


def test_a_changed_or_absent_tool_is_named(tmp_path: Path) -> None:
    trace = learn(write("a", "1"))
    assert replay_blockers(trace, {}, tmp_path, {}) == ("the tool Write is not there",)
    newer = VERSIONS | {"Write": "f" * 12}
    assert replay_blockers(trace, {}, tmp_path, newer) == (f"the tool Write changed since {WHEN}",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proved": False, "error_notes": "it sent mail"}, "not proved: it sent mail"),
        ({"tainted": True}, "untrusted"),
        ({"failure_streak": 2, "version": 3}, "version 3 failed 2 times"),
    ],
)
def test_a_trace_that_lost_its_trust_is_not_followed(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    trace = learn(write("a", "1")).model_copy(update=changes)
    assert words in blockers(trace, tmp_path)[0]


def test_a_tainted_trace_is_followed_once_a_person_approved_it(tmp_path: Path) -> None:
    trace = learn(write("a", "1")).model_copy(update={"tainted": True})
    assert f"llmos traces approve {trace.trace_id}" in blockers(trace, tmp_path)[0]
    assert blockers(trace.model_copy(update={"approved_by": "ann"}), tmp_path) == ()


def test_one_failure_does_not_demote(tmp_path: Path) -> None:
    trace = learn(write("a", "1")).model_copy(update={"failure_streak": 1})
    assert blockers(trace, tmp_path) == ()


def test_a_failed_step_is_never_followed(tmp_path: Path) -> None:
    failed = bash("x", '{"success": false}')
    trace = learn(write("a", "1")).model_copy(update={"steps": (failed,), "proved": True})
    assert "failed" in blockers(trace, tmp_path)[0]


def test_destruction_is_followed_only_for_the_very_same_goal(tmp_path: Path) -> None:
    trace = learn(
        bash("rm old.log", writes={"old.log": None}),
        goal="Delete old.log",
        declared=[Slot(name="file", value="old.log", declared=True)],
    )
    assert trace.destructive
    assert blockers(trace, tmp_path) == ()
    assert replay_blockers(trace, {}, tmp_path, VERSIONS, stage="alias") == ()
    assert "exact wording" in replay_blockers(trace, {}, tmp_path, VERSIONS, stage="structure")[0]
    assert "other values" in blockers(trace, tmp_path, file="new.log")[0]


def slotted(*transcript: TraceStep, **more: Any) -> ExecutionTrace:
    return learn(
        *transcript,
        goal="Greet Bob in bob.txt",
        declared=[Slot(name="file", value="bob.txt", declared=True)],
        **more,
    )


def test_a_new_value_in_calls_that_tell_nothing_is_followed(tmp_path: Path) -> None:
    trace = slotted(write("bob.txt", "hi"), bash("cat bob.txt", "hi", 2, reads={"bob.txt": "hi"}))
    assert blockers(trace, tmp_path, file="eve.txt") == ()
    assert blockers(trace, tmp_path, file="bob.txt") == ()


def test_a_new_value_whose_result_shaped_later_steps_is_not(tmp_path: Path) -> None:
    (tmp_path / "eve.txt").write_text("other")
    trace = slotted(read("bob.txt", "hi"), write("sum.txt", "bob says hi", turn=2))
    assert "old result in view" in blockers(trace, tmp_path, file="eve.txt")[0]


def test_calls_of_one_turn_did_not_see_each_other(tmp_path: Path) -> None:
    (tmp_path / "eve.txt").write_text("other")
    trace = slotted(read("bob.txt", "hi"), write("log.txt", "started"))
    assert blockers(trace, tmp_path, file="eve.txt") == ()


def test_reading_back_own_work_tells_nothing_new(tmp_path: Path) -> None:
    trace = slotted(
        write("bob.txt", "hi"), read("bob.txt", "hi", turn=2), write("log.txt", "ok", turn=3)
    )
    assert blockers(trace, tmp_path, file="eve.txt") == ()


def test_a_result_without_text_tells_nothing(tmp_path: Path) -> None:
    trace = slotted(bash("touch bob.txt", writes={"bob.txt": ""}), write("log", "ok", turn=2))
    assert blockers(trace, tmp_path, file="eve.txt") == ()


def test_a_command_behind_a_changed_file_may_have_seen_it(tmp_path: Path) -> None:
    trace = slotted(
        write("bob.txt", "hi"), bash("python main.py", "3", turn=2), write("sum", "3", turn=3)
    )
    assert "python main.py" in blockers(trace, tmp_path, file="eve.txt")[0]


def test_an_answer_that_came_from_the_old_value_is_not_given_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "eve.txt").write_text("other")
    asked = slotted(read("bob.txt", "1,2"), answer="The total is 3.")
    assert "answer was written" in blockers(asked, tmp_path, file="eve.txt")[0]
    said = slotted(answer="bob.txt is a greeting")
    assert "written for another" in blockers(said, tmp_path, file="eve.txt")[0]


def test_an_input_named_by_a_slot_has_to_be_there(tmp_path: Path) -> None:
    trace = slotted(bash("sort bob.txt > out.txt", reads={"bob.txt": "1"}, writes={"out.txt": "1"}))
    assert blockers(trace, tmp_path, file="eve.txt") == ("the input eve.txt is missing",)
    (tmp_path / "eve.txt").write_text("anything")
    assert blockers(trace, tmp_path, file="eve.txt") == ()


def test_a_value_for_no_slot_is_refused(tmp_path: Path) -> None:
    assert blockers(learn(write("a", "1")), tmp_path, file="x") == ("it has no slot 'file'",)


# -- answers -----------------------------------------------------------------------------------


def result(output: str, ok: bool = True, **more: Any) -> ToolResult:
    return ToolResult(ok=ok, output=output, **more)


def test_the_stored_answer_is_given_while_everything_is_as_it_was() -> None:
    trace = learn(write("a", "1"), bash("cat a", "1\n", turn=2), answer="It says 1.")
    assert replay_answer(trace, {}, [result("Wrote"), result("1")]) == "It says 1."


def test_an_old_answer_is_never_told_over_new_facts() -> None:
    trace = learn(write("a", "1"), bash("cat a", "1", turn=2), answer="It says 1.")
    results = [result("Wrote", writes=(digest("a", "1"),)), result("2")]
    answer = replay_answer(trace, {}, results)
    assert "It says 1." not in answer
    assert "Bash cat a: done\n  2" in answer
    assert "Files: a" in answer


def test_new_values_stand_in_the_answer() -> None:
    trace = slotted(write("bob.txt", "hi"), answer="I wrote bob.txt for you.")
    assert replay_answer(trace, {"file": "eve.txt"}, [result("")]) == "I wrote eve.txt for you."
    checked = slotted(
        write("bob.txt", "hi"), bash("ls bob.txt", "bob.txt", turn=2), answer="bob.txt is there."
    )
    given = replay_answer(checked, {"file": "eve.txt"}, [result(""), result("eve.txt\n")])
    assert given == "eve.txt is there."
    other = replay_answer(checked, {"file": "eve.txt"}, [result(""), result("eve.txt 12 kB")])
    assert other.startswith("Replayed 2 of 2 steps:")


def test_an_answer_without_calls_says_its_date() -> None:
    assert replay_answer(learn(answer="Paris."), {}, []) == "Paris.\n\n(replayed from 2026-11-20)"
    told = learn(bash("ls", "a.md"), answer="There is a.md.")
    again = replay_answer(told, {}, [result("a.md")])
    assert again == "There is a.md.\n\n(replayed from 2026-11-20)"
    assert without_date(again) == "There is a.md."


def test_a_broken_off_replay_tells_what_was_done() -> None:
    trace = learn(write("a", "1"), write("b", "2", turn=2))
    answer = replay_answer(trace, {}, [result("", ok=False)])
    assert answer == "Replayed 1 of 2 steps:\n- Write a: failed"


def test_where_the_answer_is_the_result_new_facts_need_a_model() -> None:
    asked = learn(bash("uptime", "up 3 days"), answer="About three days.")
    assert needs_model(asked, {}, [result("up 3 days\n")]) == ""
    assert "Bash uptime" in needs_model(asked, {}, [result("up 4 days")])
    made = learn(write("a", "1"), bash("uptime", "up 3 days", turn=2))
    assert needs_model(made, {}, [result(""), result("up 4 days")]) == ""
