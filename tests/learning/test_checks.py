"""Failed calls become what a replay has to find failing still; pure rules."""

import pytest

from llmos_workers.contracts.trace import Standing
from llmos_workers.flow.prove import supervised
from llmos_workers.learning.checks import checks_of, unseen_failures
from llmos_workers.learning.distill import OUTSIDE, RunFacts, distill
from llmos_workers.learning.edge_item import NotForDevices, edge_item
from llmos_workers.learning.families import unfit_to_generalize
from llmos_workers.learning.secrets import HELD, without_secrets
from tests.learning.runs import SPECS, step

WRITE = step("Write", 3, {"path": "a.txt", "content": "1"}, writes={"a.txt": "1"})
LOOK = step("Bash", 1, {"command": "test -e Makefile"}, ok=False)
DONE = step("Bash", 2, {"command": "ls"}, output="a")


def of_run(*steps, **facts):
    return distill("Do it", steps, answer="Done.", specs=SPECS, facts=RunFacts(**facts))


def test_a_failed_call_keeps_its_place_between_the_steps():
    trace = of_run(DONE, LOOK, WRITE)
    assert [step.call.name for step in trace.steps] == ["Bash", "Write"]
    assert [(check.at, check.step.call.call_id) for check in trace.checks] == [(1, "")]


def test_what_was_read_in_vain_is_an_input_and_no_check():
    missing = step("Read", 1, {"path": "conf"}, ok=False, reads={"conf": None})
    trace = of_run(missing, WRITE)
    assert (trace.checks, [file.path for file in trace.inputs]) == ((), ["conf"])


def test_a_failure_that_changed_files_is_no_check():
    half = step("Bash", 1, {"command": "make"}, ok=False, writes={"b.txt": "1"})
    assert checks_of([half, WRITE], [WRITE]) == ()


@pytest.mark.parametrize(
    ("failed", "facts"),
    [(step("SendMail", 1, {"to": "ann"}, ok=False), {}), (LOOK, {"reached": True})],
    ids=["a tool with effects outside", "a command that reached something"],
)
def test_what_may_have_had_effects_elsewhere_is_not_tried_again(failed, facts):
    trace = of_run(failed, WRITE, **facts)
    assert not trace.proved
    assert "failed and cannot be tried again" in trace.error_notes
    assert OUTSIDE in trace.error_notes
    assert not supervised(trace, trace).proved, "nor is it by a model that did it once more"


def test_a_run_with_a_failure_more_is_not_the_same_job():
    assert unseen_failures(of_run(WRITE), of_run(LOOK, WRITE))
    assert not unseen_failures(of_run(LOOK, WRITE), of_run(LOOK, WRITE))
    assert not unseen_failures(of_run(LOOK, WRITE), of_run(WRITE))
    missing = step("Read", 1, {"path": "conf"}, ok=False, reads={"conf": None})
    assert unseen_failures(of_run(WRITE), of_run(missing, WRITE))


def test_a_secret_in_a_failed_call_is_named():
    trace = of_run(step("Bash", 1, {"command": "login hunter2hunter2"}, ok=False), WRITE)
    clean = without_secrets(trace, {"hunter2hunter2": "PASSWORD"})
    assert "hunter2" not in clean.model_dump_json()
    assert HELD in clean.error_notes


def test_what_a_failed_call_holds_is_no_reference():
    head = step("Bash", 0, {"command": "git rev-parse HEAD"}, output="abc123def")
    shows = step("Bash", 1, {"command": "git show abc123def:x"}, ok=False)
    uses = step("Bash", 3, {"command": "git tag v1 abc123def"})
    assert of_run(head, uses).steps[1].references
    assert not of_run(head, shows, uses).steps[1].references


def test_who_cannot_make_the_call_again_does_not_follow():
    trace = of_run(LOOK, WRITE)
    assert unfit_to_generalize(trace)
    signed = trace.model_copy(update={"standing": Standing.SIGNED})
    with pytest.raises(NotForDevices, match="a call that failed"):
        edge_item(signed)
