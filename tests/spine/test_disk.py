"""A full disk and a read-only folder: real file systems, goals that end in words."""

import os
import subprocess
from contextlib import contextmanager

import pytest

from llmos_workers.contracts.modes import Mode

TIMEOUT = 60
CALCULATOR = "Create a Python calculator"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@contextmanager
def mounted(folder, options):
    """A file system of its own on ``folder`` while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this host does not let root mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


def test_a_full_disk_ends_the_goal_and_says_so(llmos, project, output):
    with mounted(output.parent, "size=128k,mode=755"):
        output.mkdir()
        with pytest.raises(OSError, match="space"):
            fill(output / "filler")
        outcome = llmos.submit(CALCULATOR, project=project).result(TIMEOUT)
        assert [path.name for path in output.iterdir()] == ["filler"]
    assert (outcome.status, outcome.error.kind) == ("FAILED", "WorkspaceUnwritable")
    assert "full" in outcome.error.message or "space" in outcome.error.message


def test_a_read_only_project_ends_the_goal_and_says_so(llmos, project, output):
    with mounted(output.parent, "ro,size=64k"):
        outcome = llmos.submit(CALCULATOR, project=project).result(TIMEOUT)
    assert (outcome.status, outcome.error.kind) == ("FAILED", "WorkspaceUnwritable")
    assert "read-only" in outcome.error.message.lower()


def test_traces_that_cannot_be_written_cost_the_trace_not_the_goal(llmos, system, project, output):
    folder = system.config.workspace / "memories" / "traces" / project
    with mounted(folder, "ro,size=64k"):
        handle = llmos.submit(CALCULATOR, project=project)
        outcome = handle.result(TIMEOUT)
        assert outcome.ok
        assert outcome.learned_trace_id is None
        notices = [e.data["message"] for e in handle.events(timeout=5) if e.kind == "notice"]
        assert any("not learned" in message for message in notices)
    assert (output / "calculator.py").is_file()
    assert llmos.submit(CALCULATOR, project=project).result(TIMEOUT).mode is Mode.LEARNER
