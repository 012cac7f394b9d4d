"""undo and why, with stages used directly."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.commits import CommitFacts, Writer
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel.gate_log import GateLog
from tests.kernel.stage_support import Bench, listing, write


@pytest.fixture
def bench(state, tmp_path, monkeypatch) -> Bench:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    return Bench(state, tmp_path / "w")


def learned(bench):
    lease, stage = bench.run()
    write(stage.area, {"d/a.txt": "A", "b.txt": "b"})
    facts = CommitFacts(
        mode=Mode.LEARNER, trace_id="t1", trace_version=2, approver="ann",
        writers={"d/a.txt": Writer(step=0, model_call="req_7")},
    )  # fmt: skip
    commit = bench.publisher.publish(stage, lease=lease, facts=facts)
    stage.discard()
    return commit


def test_undo_takes_a_goal_back_and_says_what(run, bench):
    write(bench.output, {"d/a.txt": "a"})
    before = listing(bench.output)
    commit = learned(bench)
    ran = run("undo", commit.goal_id, "--by", "bob")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "removed   b.txt",
        "restored  d/a.txt",
        f"goal {commit.goal_id} is undone.",
    ]
    assert listing(bench.output) == before
    assert bench.log.newest("p")[0].approver == "bob"


def test_undo_in_json(run, bench):
    commit = learned(bench)
    data = run("undo", commit.goal_id, "--json").json
    assert (data["goal_id"], data["project"]) == (commit.goal_id, "p")
    assert data["commits"][0]["undoes"] == commit.commit_id
    assert "@" in data["commits"][0]["approver"]


def test_undo_of_a_goal_whose_record_is_gone_finds_its_project(run, bench, state):
    commit = learned(bench)
    state.delete(f"llmos:goal:{commit.goal_id}")
    assert run("undo", commit.goal_id).code == 0
    assert run("undo", commit.goal_id).code == 2


def test_what_cannot_be_undone_is_said(run, bench):
    commit = learned(bench)
    other = bench.goal_that_writes({"b.txt": "other"})
    ran = run("undo", commit.goal_id)
    assert ran.code == 1
    assert "nothing was undone: b.txt" in ran.err
    assert other.goal_id in ran.err
    ran = run("undo", commit.goal_id, "--json")
    assert (ran.code, ran.error["error"]["kind"]) == (1, "PublishConflict")
    assert run("undo", "no-such-goal").code == 2
    assert run("undo", commit.goal_id, "--project", "nowhere").code == 2
    assert run("undo", commit.goal_id, "--project", "../p").code == 2


def test_why_names_all_that_is_behind_a_file(run, bench, monkeypatch):
    write(bench.output, {"d/a.txt": "a"})
    commit = learned(bench)
    ran = run("why", "d/a.txt", "--project", "p")
    assert ran.code == 0
    for part in (
        "d/a.txt: file, 1 bytes", f"changed by goal {commit.goal_id}",
        "LEARNER, trace t1 version 2, step 1, model call req_7, approved by ann", "sha256 ",
    ):  # fmt: skip
        assert part in ran.out
    monkeypatch.chdir(bench.output / "d")
    assert run("why", "a.txt").out == ran.out
    assert run("why", str(bench.output / "d/a.txt")).out == ran.out
    assert run("why", "a.txt", "--project", "other").code == 2


def test_why_tells_undone_removed_and_changed_by_hand(run, bench):
    commit = learned(bench)
    write(bench.output, {"b.txt": "by hand"})
    assert "changed since by someone outside llmos" in run("why", "b.txt", "--project", "p").out
    write(bench.output, {"b.txt": "b"})
    run("undo", commit.goal_id, "--by", "bob")
    ran = run("why", "b.txt", "--project", "p")
    assert ran.out.startswith("b.txt: removed")
    assert f"undone by bob: goal {commit.goal_id}" in ran.out
    assert f"made by goal {commit.goal_id}" in ran.out


def test_a_tainted_file_says_so_until_somebody_trusts_it(run, bench, state):
    lease, stage = bench.run()
    write(stage.area, {"n.md": "what a page of somebody else's said"})
    facts = CommitFacts(tainted="WebFetch")
    commit = bench.publisher.publish(stage, lease=lease, facts=facts)
    ran = run("why", "n.md", "--project", "p")
    assert f"holds content from outside, by goal {commit.goal_id}: WebFetch" in ran.out
    assert "llmos why FILE --trust" in ran.out
    data = run("why", "n.md", "--project", "p", "--json").json
    assert data["tainted"]["goal_id"] == commit.goal_id
    assert run("why", "n.md", "--project", "p", "--trust").out.startswith("trusted as it is.")
    assert run("why", "n.md", "--project", "p", "--json").json["tainted"] is None
    entry = next(iter(GateLog(state).newest())).decision().record
    assert (entry.rule, entry.project, entry.goal_id) == ("taint:trusted", "p", commit.goal_id)
    assert entry.reason.startswith("n.md is trusted by ")
    assert run("why", "n.md", "--project", "p", "--trust").code == 2


def test_why_in_json(run, bench):
    commit = learned(bench)
    data = run("why", "b.txt", "--project", "p", "--json").json
    assert (data["project"], data["path"], data["now"]["size"]) == ("p", "b.txt", 1)
    assert [c["commit_id"] for c in data["commits"]] == [commit.commit_id]


def test_why_of_an_unknown_file(run, bench):
    write(bench.output, {"mine.txt": "m"})
    ran = run("why", "mine.txt", "--project", "p")
    assert ran.code == 0
    assert "nobody published it" in ran.out
    assert "never was" in run("why", "nothing.txt", "--project", "p").out
    assert run("why", "nothing.txt", "--project", "p", "--json").json["commits"] == []
    for path in ("../x", "d/../../x", "."):
        assert run("why", path, "--project", "p").code == 2
