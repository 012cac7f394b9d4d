"""``llmos demo``: it shows what it says, and however it ends it leaves no process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmos_cli.demo import demo
from llmos_cli.demo_script import SCENES
from llmos_workers.embedded import discovery
from llmos_workers.embedded.discovery import process_started
from tests.support.wait import wait_until

COMMAND = [sys.executable, "-m", "llmos_cli", "demo", "--json", "--folder"]
SECRETS = ("ANTHROPIC_API_KEY", "LLMOS_")


def environment() -> dict[str, str]:
    """Ours, without a model or a server that the machine may have configured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}


def family_of(pid: int) -> list[int]:
    """A process with all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def gone(pids: list[int]) -> bool:
    return not any(process_started(pid) for pid in pids)


@pytest.mark.process
def test_the_demo_shows_what_it_says(tmp_path):
    folder = tmp_path / "demo"
    shown = subprocess.run(
        [*COMMAND, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment(),
    )
    assert shown.returncode == 0, shown.stderr
    outcomes = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == ["SUCCEEDED"] * len(SCENES)
    modes = Counter(outcome["mode"] for outcome in outcomes)
    assert modes["FOLLOWER"] >= 5
    assert all(o["llm_calls"] == o["cost_micro"] == 0 for o in outcomes if o["mode"] == "FOLLOWER")
    assert "not an LLM" in shown.stderr
    assert "llmos up" in shown.stderr
    assert discovery.read(folder) is None
    assert (folder / "projects" / "demo" / "output" / "calculator.py").is_file()


@pytest.mark.process
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_a_demo_that_is_broken_off_leaves_no_process(tmp_path, signum):
    folder = tmp_path / "demo"
    shown = subprocess.Popen(
        [*COMMAND, str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        start_new_session=True,
    )  # fmt: skip
    try:
        log = folder / "state" / "rehearsal.jsonl"
        wait_until(lambda: log.exists() and log.stat().st_size, 60, what="the first goal runs")
        everyone = family_of(shown.pid)
        assert len(everyone) >= 6  # itself, the server, four workers
        shown.send_signal(signum)
        _, said = shown.communicate(timeout=30)
    finally:
        shown.kill()
        shown.wait()
    assert shown.returncode not in (0, None)
    assert "Traceback" not in said
    wait_until(lambda: gone(everyone), what="all of the demo's processes are gone")
    assert discovery.read(folder) is None


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.md").write_text("years of work")
    result = CliRunner().invoke(demo, ["--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "not made by the demo" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]
    assert (tmp_path / "thesis.md").read_text() == "years of work"
