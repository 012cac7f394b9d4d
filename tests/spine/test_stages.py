"""Runs work in stages: what fails leaves nothing, what succeeds can be taken back and explained."""

import json
import subprocess
import sys

from llmos_workers.contracts.modes import Mode
from tests.support.wait import wait_until

TIMEOUT = 60


def cli(system, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "llmos_cli", "--redis-url", system.stack.redis_url,
         "--workspace", str(system.config.workspace), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_failed_run_leaves_no_debris(llmos, system, project, output):
    """The model writes a file and is then refused for good."""
    system.rehearsal.faults.next("slow:0", "unauthorized")
    outcome = llmos.submit("Create a Python calculator", project=project).result(TIMEOUT)
    assert (outcome.status, outcome.files) == ("FAILED", ())
    assert [call.name for call in outcome.tool_calls] == ["Write"]
    assert not list(output.iterdir())
    assert not list((output.parent / "state" / "stages").iterdir())


def test_a_commit_is_explained_and_taken_back(llmos, system, project, output):
    handle = llmos.submit("Create a Python calculator", project=project)
    outcome = handle.result(TIMEOUT)
    told = cli(system, "why", "calculator.py", "--project", project, "--json")
    assert told.returncode == 0, told.stderr
    assert handle.id in told.stdout
    assert json.loads(told.stdout)
    assert (output / "calculator.py").is_file()
    undone = cli(system, "undo", handle.id, "--project", project)
    assert undone.returncode == 0, undone.stderr
    assert not (output / "calculator.py").exists()
    again = llmos.submit("Create a Python calculator", project=project).result(TIMEOUT)
    assert (again.mode, again.trace_id) == (Mode.FOLLOWER, outcome.learned_trace_id)
    assert (output / "calculator.py").is_file()


def test_a_file_that_somebody_changed_meanwhile_is_a_visible_conflict(
    llmos, system, project, output
):
    """A person edits the file while the model is at work on it."""
    (output / "calculator.py").write_text("# mine\n")
    system.rehearsal.faults.next("slow:0", "hold:1")
    handle = llmos.submit("Create a Python calculator", project=project)
    stages = output.parent / "state" / "stages"
    wait_until(
        lambda: any("def add" in p.read_text() for p in stages.glob("*/area/calculator.py")),
        what="the run wrote into its stage",
    )
    assert (output / "calculator.py").read_text() == "# mine\n"
    (output / "calculator.py").write_text("# mine, changed\n")
    system.rehearsal.faults.release()
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.error.kind) == ("FAILED", "PublishConflict")
    assert "calculator.py" in outcome.error.message
    assert outcome.cost_micro > 0
    assert (output / "calculator.py").read_text() == "# mine, changed\n"


def test_goals_of_one_project_that_run_at_once_do_not_mix(llmos, project, output):
    goals = [f"Write a haiku about {name}" for name in ("rain", "snow", "wind", "sand")]
    outcomes = [h.result(TIMEOUT) for h in llmos.submit_many(goals, project=project)]
    written = [file.path for outcome in outcomes for file in outcome.files]
    for outcome in outcomes:
        assert outcome.ok or outcome.error.kind == "PublishConflict", outcome.error
    assert sorted(p.name for p in output.iterdir()) == sorted(set(written))
