"""``llmos projects``: how many goals of a project may be under way."""

from __future__ import annotations

from pathlib import Path

import redis

from llmos_workers.kernel.admission import Admission
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.cli.conftest import Run
from tests.kernel.goal_support import a_goal


def test_a_window_is_set_told_and_lifted(run: Run) -> None:
    assert run("projects", "window", "p").out == "p: window 100 (the default).\n"
    assert run("projects", "window", "p", "1").out == "p: window 1 (its own).\n"
    told = run("projects", "window", "p", "--json").json
    assert (told["window"], told["own"]) == (1, True)
    assert "default" in run("projects", "window", "p", "default").out
    assert run("projects", "list").out == "no projects.\n"


def test_projects_are_listed_with_what_is_under_way_and_waits(
    run: Run, state: redis.Redis, tmp_path: Path
) -> None:
    (tmp_path / "workspace" / "projects" / "quiet" / "output").mkdir(parents=True)
    assert run("projects", "window", "busy", "1").code == 0
    goals = GoalStore(state, SystemClock())
    gate = Admission(state, state, goals, window=100)
    first, second = (goals.create(a_goal(project="busy"))[0] for _ in range(2))
    assert [gate.admit(first), gate.admit(second)] == [True, False]
    lines = run("projects", "list", "--json").lines
    assert lines == [
        {"project": "busy", "window": 1, "own": True, "under_way": 1, "waiting": 1},
        {"project": "quiet", "window": 100, "own": False, "under_way": 0, "waiting": 0},
    ]
    rows = run("projects", "list").out.splitlines()
    assert [row.split() for row in rows[1:]] == [
        ["busy", "1", "1", "1"],
        ["quiet", "100", "(default)", "0", "0"],
    ]


def test_what_is_no_window_is_refused_in_words(run: Run) -> None:
    for wrong in ("0", "10001", "many", "1.5"):
        told = run("projects", "window", "p", wrong)
        assert (told.code, "window is a number" in told.err) == (2, True)
    assert run("projects", "window", "no such name!", "1").code == 2
    assert run("--redis-url", "redis://127.0.0.1:1", "projects", "list").code == 6
