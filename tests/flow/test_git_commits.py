"""The workspace in git: one commit for each thing that was learned, and nothing else changes."""

from __future__ import annotations

import subprocess
import threading

import pytest

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import ConfigError
from llmos_workers.contracts.modes import Mode
from llmos_workers.evolution.seed import install_seed_agents
from llmos_workers.flow.git_commits import commit_workspace
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.kernel.workspace_git import WorkspaceGit, write_ignore
from tests.support.script import calls, says, text, use

GOAL = "Write the tide table to tides.md"
ON = {"learning": {"git_commit": True, "git_author": "Tide Robot <tides@example.org>"}}
ME = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
on = pytest.mark.parametrize("flow", [ON], indirect=True)


def git(flow, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *ME, *arguments], cwd=flow.runtime.workspace.root, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def learn(flow, content: str = "high 12 m\n"):
    flow.model(calls(use("Write", 1, path="tides.md", content=content)), says(text("Done.")))
    outcome = flow.run(GOAL)
    assert (outcome.ok, outcome.mode) == (True, Mode.LEARNER)
    return outcome


@pytest.fixture
def repository(flow):
    """The workspace as a repository whose agents and rules somebody committed."""
    install_seed_agents(flow.runtime.workspace)
    git(flow, "init", "-q", ".")
    git(flow, "add", ".")
    git(flow, "commit", "-q", "-m", "Start")
    return flow


def subjects(flow) -> list[str]:
    return git(flow, "log", "--format=%s").splitlines()


@on
def test_what_is_learned_changed_and_forgotten_is_a_commit_each(repository):
    flow = repository
    outcome = learn(flow)
    assert commit_workspace(flow.runtime) == "1 committed"
    assert subjects(flow)[0] == f"Learn: {GOAL}"
    told = git(flow, "log", "-1", "--format=%an <%ae>|%cn <%ce>|%b")
    who = "Tide Robot <tides@example.org>"
    assert told.startswith(f"{who}|{who}|Trace {outcome.learned_trace_id} of project demo")
    assert f"Learned from goal {outcome.goal_id}." in told
    trace_id = outcome.learned_trace_id
    flow.runtime.traces.add_alias("demo", trace_id, "Write a table of tides to tides.md")
    coder = flow.runtime.workspace.agents / "coder.md"
    coder.write_text(coder.read_text().replace("\n---\n", "\n---\n\nMind the gap.\n", 1))
    assert commit_workspace(flow.runtime) == "2 committed"
    assert set(subjects(flow)[:2]) == {f"Change: {GOAL}", "Change agent coder"}
    flow.runtime.traces.remove("demo", trace_id)
    assert commit_workspace(flow.runtime) == "1 committed"
    assert subjects(flow)[0].startswith("Forget: write-the-tide-table")
    assert commit_workspace(flow.runtime) == "0 committed"


@on
def test_use_changes_no_tracked_file(repository):
    flow = repository
    learn(flow)
    commit_workspace(flow.runtime)
    git(flow, "add", "projects")
    git(flow, "commit", "-q", "-m", "What was made")
    for _ in range(3):
        assert flow.run(GOAL).mode is Mode.FOLLOWER
        for duty in ("scan_traces", "flush_counters", "snapshot_state", "sweep_stages"):
            DUTIES[duty](flow.runtime)
    assert git(flow, "status", "--porcelain") == ""
    assert flow.trace(GOAL).usage_count == 3


@on
def test_no_hook_runs_and_what_people_staged_stays_staged(repository, tmp_path):
    flow = repository
    hooks = flow.runtime.workspace.root / ".git" / "hooks"
    for name in ("pre-commit", "commit-msg", "post-commit", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{name}\nexit 1\n")
        (hooks / name).chmod(0o755)
    (flow.runtime.workspace.root / "mine.txt").write_text("mine")
    git(flow, "-c", "core.hooksPath=/dev/null", "add", "mine.txt")
    learn(flow)
    assert commit_workspace(flow.runtime) == "1 committed"
    assert list(tmp_path.glob("ran-*")) == []
    assert git(flow, "diff", "--cached", "--name-only") == "mine.txt\n"
    assert git(flow, "show", "--name-only", "--format=").count("\n") == 1


@on
def test_many_workers_at_once_commit_each_change_once(repository):
    flow = repository
    learn(flow)
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda: told.append(commit_workspace(flow.runtime)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told.count("1 committed") == 1
    assert set(told) <= {"1 committed", "0 committed", "somebody else does"}
    assert subjects(flow) == [f"Learn: {GOAL}", "Start"]


@on
def test_what_git_cannot_do_now_is_done_later_and_fails_no_goal(repository):
    flow = repository
    lock = flow.runtime.workspace.root / ".git" / "index.lock"
    lock.write_text("")
    learn(flow)
    assert commit_workspace(flow.runtime).startswith("0 committed, then: git add failed")
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    lock.unlink()
    assert commit_workspace(flow.runtime) == "1 committed"


@on
def test_without_a_repository_nothing_happens(flow):
    learn(flow)
    assert commit_workspace(flow.runtime) == "no repository"
    assert not (flow.runtime.workspace.root / ".git").exists()


def test_it_is_off_unless_asked_for(repository):
    learn(repository)
    assert commit_workspace(repository.runtime) == "off"
    assert subjects(repository) == ["Start"]


@on
def test_a_workspace_inside_of_a_repository_commits_its_own_files_only(flow):
    root = flow.runtime.workspace.root
    above = root.parent
    subprocess.run(["git", "init", "-q", "."], cwd=above, check=True)
    (above / "other.txt").write_text("x")
    learn(flow)
    said = commit_workspace(flow.runtime)
    assert said.endswith("committed")
    assert said != "0 committed"
    names = git(flow, "log", "--name-only", "--format=").split()
    assert f"{root.name}/.gitignore" not in names
    assert all(name.startswith(f"{root.name}/") for name in names)
    assert any(name.startswith(f"{root.name}/memories/traces/demo/") for name in names)


@on
def test_no_git_on_the_host_is_said(repository, monkeypatch):
    learn(repository)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "there is no git on this host" in commit_workspace(repository.runtime)


def test_ignore_rules_are_written_once_and_belong_to_people(tmp_path):
    workspace = Workspace(tmp_path / "w").ensure()
    assert write_ignore(workspace)
    rules = workspace.root / ".gitignore"
    rules.write_text("mine\n")
    assert not write_ignore(workspace)
    install_seed_agents(workspace)
    assert rules.read_text() == "mine\n"


def test_leftovers_of_processes_are_ignored(tmp_path):
    workspace = Workspace(tmp_path / "w").ensure()
    install_seed_agents(workspace)
    for path in (
        "state/redis/server.sock", "state/keys/signing.key", "state/counters/p.json",
        "projects/p/state/objects/ab/x", "projects/p/state/stages/g.1/x", ".env",
        "memories/sessions/p/s.md", "memories/traces/p/history/t/0001-000001.md",
        "memories/traces/p/.t.0a.staged", "agents/.history/coder/0001.md",
    ):  # fmt: skip
        workspace.write_atomic(path, b"x")
    workspace.write_atomic("memories/traces/p/t.md", b"x")
    subprocess.run(["git", "init", "-q", "."], cwd=workspace.root, check=True)
    found = WorkspaceGit(workspace, "a <b>").changed([".", "agents", "memories", "projects"])
    names = {change.path for change in found}
    assert {n for n in names if not n.startswith("agents/")} == {"memories/traces/p/t.md"}
    assert not any(".history" in name for name in names)


@pytest.mark.parametrize("author", ["llmos", "a <b", "a\n<b@c>", "<b@c>", "a <b c>"])
def test_an_author_that_git_would_not_take_is_refused(author):
    with pytest.raises(ConfigError, match="git_author"):
        LLMOSConfig.from_dict({"learning": {"git_author": author}})
