"""Events and outcomes as text, and the live panel on a terminal."""

import os
import sys

import pytest

from llmos_cli.render import event_line, short, summary
from llmos_workers.contracts.events import GoalEvent, GoalEventKind
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import ErrorInfo, FileDigest, Outcome
from tests.support.terminal import Terminal


def event(kind, **data):
    return GoalEvent(event_id="1-0", goal_id="g", kind=kind, at=0.0, data=data)


@pytest.mark.parametrize("kind", GoalEventKind)
def test_every_kind_of_event_has_a_line_also_without_data(kind):
    line = event_line(event(kind))
    assert line
    assert "\n" not in line


def test_an_event_of_a_newer_release_is_passed_over():
    assert event_line(event("telepathy", x=1)) is None


def test_a_decision_shows_mode_and_why_also_inside_a_state_event():
    told = event_line(event("state", state="DISPATCHED", mode="FOLLOWER", reason="exact repeat"))
    assert told == "decision  FOLLOWER: exact repeat"
    assert event_line(event("state", state="RUNNING")) == "state     RUNNING"


def test_a_failed_tool_shows_its_exit_code():
    line = event_line(event("tool_result", name="Bash", ok=False, exit_code=2, duration_ms=12.0))
    assert line.split() == ["failed,", "exit", "2,", "12", "ms"]


def test_words_cannot_steer_the_terminal():
    assert short("a\x1b[2Jb\u202ec\n\td") == "a [2Jb c d"
    assert len(short("x" * 500)) == 60


def outcome(**more):
    return Outcome(goal_id="g", **{"status": "SUCCEEDED", "mode": Mode.FOLLOWER} | more)


def test_a_replay_says_what_it_saved_and_whence_it_came():
    told = summary(outcome(saved_micro=8800, replayed_from="2026-11-21", slots={"name": "Ada"}))
    assert "saved $0.0088" in told[0]
    assert "replayed from 2026-11-21" in told[0]
    assert "with: name=Ada" in told


def test_an_error_that_the_model_worded_is_told_once():
    words = "there is no script for this kind of goal, here is what I know"
    told = summary(
        outcome(status="FAILED", text=f"NO_SKILL: {words}",
                error=ErrorInfo(kind="ModelError", message=words, fix="Set a key."))
    )  # fmt: skip
    assert sum(words in line for line in told) == 1
    assert told[-1] == "fix: Set a key."


def test_what_a_model_says_cannot_steer_the_terminal():
    evil = "first\n\x1b]0;owned\x07second\u202e"
    told = "\n".join(summary(outcome(text=evil, reason=evil)))
    assert "first\n" in told
    assert not set(told) & set("\x1b\x07\u202e")


def test_many_files_are_cut_short():
    files = tuple(FileDigest(path=f"f{n}", digest=None) for n in range(30))
    told = summary(outcome(files=files))
    assert told[-1] == "… and 10 more files"


def test_a_dry_run_tells_mode_trace_slots_cost_and_files():
    told = "\n".join(
        summary(outcome(dry_run={
            "mode": "FOLLOWER", "trace_id": "abc", "trace_goal": "Create it",
            "worst_cost_micro": 2_500_000, "slots": {"lang": "Rust"}, "files": ["a.rs"],
        }))
    )  # fmt: skip
    for part in (
        "would run as FOLLOWER",
        "abc (Create it)",
        "lang = Rust",
        "worst cost: $2.5000",
        "a.rs",
    ):
        assert part in told


def test_a_dry_run_that_names_no_cost_is_not_said_to_be_free():
    assert "worst cost: ?" in summary(outcome(dry_run={"mode": "LEARNER"}))


@pytest.mark.process
def test_a_terminal_gets_a_live_panel(redis_server, state, worker, tmp_path):
    env = os.environ | {"LLMOS_REDIS_URL": redis_server}
    argv = [sys.executable, "-m", "llmos_cli", "submit", "write it"]
    with (
        (tmp_path / "out").open("wb") as out,
        Terminal(argv, env=env, cwd=tmp_path, stdout=out) as terminal,
    ):
        shown = terminal.rest()
    assert terminal.process.returncode == 0
    assert "SUCCEEDED" in (tmp_path / "out").read_text()
    assert "it is new" in shown
    assert "\x1b[" in shown
