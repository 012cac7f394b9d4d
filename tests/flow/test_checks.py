"""A run that went on from a call that failed is followed only while that call fails as it did."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_cli.traces_render import shown
from llmos_workers.contracts.modes import Mode
from tests.flow.test_prove import DONE, GOAL, bash, learn, put
from tests.support.script import calls, says, text, use

OLD = put("sum.txt", "old\n", 2)


def edit(path: str, old: str, new: str):
    return calls(use("Edit", path=path, old=old, new=new))


def renew(path: str, content: str = "x\n", mode: int = 0o644) -> Callable[[Path], None]:
    """A change to the project: a file as if somebody else had just put it there."""

    def change(area: Path) -> None:
        place = area / path
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(content)
        place.chmod(mode)

    return change


def many(area: Path) -> None:
    for number in range(30):
        (area / f"f{number}").write_text("1\n")


@pytest.mark.parametrize(
    ("failing", "given", "change"),
    [
        (edit("conf", "foo", "bar"), {"conf": "nothing\n"}, renew("conf", "foo\n")),
        (bash("test -e Makefile"), {}, renew("Makefile")),
        (bash("ls build"), {}, renew("build/x")),
        (bash("test $(ls | wc -l) -gt 20"), {"a": "1\n"}, many),
        (bash("test -x run"), {"run": "x\n"}, renew("run", mode=0o755)),
        (bash("find . -newermt 2001-01-01 -name a | grep ."), {"a": "1\n"}, renew("a", "1\n")),
        (calls(use("Grep", pattern="port", path="conf")), {}, renew("conf/a.ini", "port = 1\n")),
    ],
    ids=["edit", "no such file", "no such folder", "a count", "a mode", "a time", "a search"],
)
def test_a_failed_call_that_would_not_fail_any_more_ends_the_replay(flow, failing, given, change):
    for path, content in given.items():
        (flow.area / path).write_text(content)
        os.utime(flow.area / path, (1, 1))
    trace = learn(flow, failing, OLD)
    assert (trace.proved, [step.call.name for step in trace.steps]) == (True, ["Write"])
    assert [(check.at, check.step.ok) for check in trace.checks] == [(0, False)]
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    change(flow.area)
    flow.model(DONE)
    assert flow.run(GOAL).mode is Mode.MIXED


def test_a_failure_that_differs_from_run_to_run_is_none_to_go_on_from(flow):
    trace = learn(flow, bash("od -An -N8 -tx8 /dev/urandom; false"), OLD)
    assert not trace.proved
    assert "Bash, which failed when it was learned, says something else" in trace.error_notes


def test_a_failed_call_is_made_again_in_its_place(flow):
    trace = learn(flow, put("a.py", "exit(3)\n"), bash("python3 a.py", 2), put("a.py", "\n", 3))
    assert [check.at for check in trace.checks] == [1]
    assert flow.run(GOAL).mode is Mode.FOLLOWER


def test_what_a_failed_call_does_that_does_not_fail_is_known_to_who_goes_on(flow):
    (flow.area / "conf").write_text("nothing\n")
    learn(flow, edit("conf", "foo", "bar"), OLD)
    (flow.area / "conf").write_text("foo\n")
    model = flow.model(DONE)
    assert flow.run(GOAL).mode is Mode.MIXED
    assert "done_so_far" in str(model.requests[0])
    assert (flow.area / "conf").read_text() == "bar\n"


def test_another_value_in_a_failed_call_is_for_a_model(flow):
    (flow.area / "sales.csv").write_text("a\n")
    (flow.area / "costs.csv").write_text("total\n")
    goal = "Count the lines of {} into sum.txt"
    again = bash("wc -l < sales.csv > sum.txt", 2)
    learn(flow, bash("grep total sales.csv"), again, goal=goal.format("sales.csv"))
    flow.model(DONE)
    outcome = flow.run(goal.format("costs.csv"))
    assert outcome.mode is Mode.MIXED
    assert "grep total sales.csv failed" in outcome.reason


def test_a_run_that_failed_first_is_no_other_wording_of_one_that_did_not(flow):
    trace = learn(flow, bash("echo 1 > sum.txt"))
    other = "Put all the numbers there are together in the file sum.txt, please"
    flow.model(bash("test -e Makefile"), bash("echo 1 > sum.txt", 2), DONE)
    assert flow.run(other, mode="mixed").mode is Mode.MIXED
    assert flow.trace(GOAL).aliases == trace.aliases
    assert flow.trace(other).checks


def test_checks_are_told_to_people(flow):
    trace = learn(flow, bash("grep -h port *.ini"), OLD)
    told = "\n".join(shown(trace, []))
    assert "check:    Bash grep -h port *.ini  has to fail as it did" in told


def test_an_answer_after_a_failed_call_is_given_again_only_while_it_fails(flow):
    goal = "Is there a Makefile?"
    flow.model(calls(use("Glob", pattern="*.mk"), use("Bash", 2, command="test -e Makefile")),
               bash("echo looked", 3), says(text("No.")))  # fmt: skip
    flow.run(goal)
    assert flow.run(goal).mode is Mode.FOLLOWER
    (flow.area / "Makefile").write_text("x\n")
    flow.model(says(text("Yes.")))
    assert flow.run(goal).text == "Yes."
