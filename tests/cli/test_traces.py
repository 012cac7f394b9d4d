"""llmos traces: looking at what was learned, and changing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.trace import Slot, SlotType
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel import keys as redis_keys
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.outbox import REBUILD
from llmos_workers.learning.traces import TraceManager
from tests.learning.conftest import make_trace

GOAL = "Write hello.py"


@pytest.fixture
def workspace(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    return Workspace(tmp_path / "w").ensure()


@pytest.fixture
def manager(state, workspace) -> TraceManager:
    return TraceManager(state, workspace)


@pytest.fixture
def trace(manager):
    steps = tuple(
        step.model_copy(update={"tool_version": ToolRegistry.builtin().versions()["Write"]})
        for step in make_trace().steps
    )
    manager.save_trace(make_trace(answer="First.", steps=steps))
    slot = Slot(name="file", type=SlotType.PATH, value="hello.py")
    return manager.save_trace(make_trace(answer="Second.", slots=(slot,), steps=steps))


def edit(workspace, old, new):
    (file,) = workspace.traces.glob("*/*.md")
    file.write_text(file.read_text().replace(old, new))


def test_list_shows_use_and_marks(run, manager, trace):
    assert run("traces", "list").out.count(trace.trace_id) == 1
    manager.update_trace_stats("default", trace.trace_id, success=True, saved_micro=450_000)
    manager.pin("default", trace.trace_id)
    manager.save_trace(make_trace("Another", project="shop", proved=False))
    table = run("traces", "list").out
    assert all(part in table for part in ("100%", "$0.4500", "pinned", "unproved", GOAL))
    one, other = run("traces", "list", "--json").lines
    assert (one["usage_count"], one["marks"]) == (1, ["pinned"])
    assert other["project"] == "shop"
    assert "no traces" in run("traces", "list", "--project", "none").out


def test_show_tells_all_that_a_replay_rests_on(run, trace):
    shown = run("traces", "show", trace.trace_id[:6]).out
    assert all(
        part in shown
        for part in (
            GOAL,
            "slot:     file (path) = hello.py",
            "Write hello.py",
            "Second.",
            "signed",
        )
    )
    data = run("traces", "show", trace.trace_id, "--json").json
    assert (data["standing"], data["steps"][0]["call"]["name"]) == ("signed", "Write")
    assert "First." in run("traces", "show", trace.trace_id, "--version", "1").out
    assert run("traces", "show", trace.trace_id, "--version", "9").code == 2
    assert run("traces", "show", "no-such").code == 2


def test_an_id_that_names_several_is_refused(run, manager, trace):
    manager.save_trace(make_trace(project="shop"))
    refused = run("traces", "show", trace.trace_id)
    assert (refused.code, f"shop/{trace.trace_id}" in refused.err) == (2, True)
    assert run("traces", "show", trace.trace_id, "--project", "shop").code == 0


def test_history_and_diff_tell_what_changed(run, manager, trace):
    lines = run("traces", "history", trace.trace_id, "--json").lines
    assert [(line["version"], line["now"]) for line in lines] == [(1, False), (2, True)]
    ran = run("traces", "diff", trace.trace_id)
    assert ran.code == 0, ran.err
    changed = ran.out
    assert "-answer: First." in changed
    assert "+answer: Second." in changed
    assert "-signature" not in changed
    other = manager.save_trace(make_trace("Another"))
    assert "-goal_text: Write hello.py" in run("traces", "diff", trace.trace_id, other.trace_id).out
    back = run("traces", "diff", trace.trace_id, "--from", "2", "--to", "1", "--json").json
    assert (back["from"], back["to"]) == (2, 1)
    assert run("traces", "diff", other.trace_id).code == 2


def test_removed_traces_come_back(run, manager, trace, state):
    removed = run("traces", "rm", trace.trace_id, "--yes")
    assert (removed.code, "--version 2" in removed.out) == (0, True)
    assert manager.list("default") == []
    assert manager.find_exact("default", trace.goal_signature) is None
    assert run("traces", "restore", trace.trace_id, "--version", "2").code == 0
    assert manager.get("default", trace.trace_id).answer == "Second."
    assert run("traces", "restore", trace.trace_id, "--version", "7").code == 2


def test_removal_asks_and_purging_is_for_good(run, manager, trace):
    assert run("traces", "rm", trace.trace_id, stdin=b"n\n").code == 5
    assert manager.get("default", trace.trace_id)
    assert run("traces", "rm", trace.trace_id, "--purge", stdin=b"y\n").code == 0
    assert run("traces", "restore", trace.trace_id, "--version", "2").code == 2


def test_pins(run, manager, trace):
    assert "pinned." in run("traces", "pin", trace.trace_id).out
    assert "already" in run("traces", "pin", trace.trace_id).out
    assert manager.get("default", trace.trace_id).pinned
    assert run("traces", "unpin", trace.trace_id).code == 0
    assert not manager.get("default", trace.trace_id).pinned


def test_a_tainted_trace_waits_for_approval(run, manager, trace):
    manager.save_trace(trace.model_copy(update={"tainted": True}))
    assert "tainted" in run("traces", "list").out
    told = run("traces", "approve", "--all", "--yes", "--by", "ann", "--json").lines
    assert [line["what"] for line in told] == ["approved"]
    assert manager.get("default", trace.trace_id).approved_by == "ann"
    assert "nothing waits" in run("traces", "approve", "--all").out


def test_an_edit_is_shown_and_approved(run, manager, trace, workspace):
    assert "nothing waits" in run("traces", "approve", "--all").out
    edit(workspace, "answer: Second.", "answer: Mine.")
    assert "edited" in run("traces", "list").out
    assert run("traces", "pin", trace.trace_id).code == 2
    asked = run("traces", "approve", trace.trace_id, stdin=b"n\n")
    assert (asked.code, "Mine." in asked.err) == (5, True)
    told = run("traces", "approve", "--all", "--yes", "--by", "ann", "--json").lines
    assert told[0]["what"] == "approved"
    assert manager.get("default", trace.trace_id).approved_by == "ann"
    assert run("traces", "approve").code == 2


def test_verify_finds_what_is_wrong(run, manager, trace, workspace):
    assert run("traces", "verify").code == 0
    project = workspace.project("default")
    (project.output / "in.txt").write_text("changed")
    recorded = FileDigest(path="in.txt", digest="ab" * 32, size=1)
    stale = manager.save_trace(
        make_trace("Read it", steps=trace.steps, inputs=(recorded,), outputs=(recorded,))
    )
    ran = run("traces", "verify", "--json")
    verdicts = {line["trace_id"]: line for line in ran.lines}
    assert ran.code == 1
    assert verdicts[trace.trace_id]["ok"]
    faults = " ".join(verdicts[stale.trace_id]["faults"])
    assert "the input in.txt changed" in faults
    assert "no step writes in.txt" in faults
    assert run("traces", "verify", trace.trace_id).code == 0
    (workspace.traces / "default" / "broken.md").write_text("no front matter")
    assert "unreadable" in run("traces", "verify", "--project", "default").out


def test_sync_reads_files_writes_counters_and_orders_an_index(
    run, manager, trace, workspace, state
):
    manager.update_trace_stats("default", trace.trace_id, success=True)
    edit(workspace, "answer: Second.", "answer: Mine.")
    told = run("traces", "sync", "--reindex", "--json").json
    assert (told["changed"], told["flushed"], told["reindex"]) == (1, 1, True)
    assert run("reindex").code == 0
    orders = [fields[b"op"].decode() for _, fields in state.xrange(redis_keys.INDEX_OUTBOX)]
    assert orders.count(REBUILD) == 2
    (workspace.traces / "default" / "broken.md").write_text("no front matter")
    assert run("traces", "sync").code == 1


def test_a_pack_goes_from_team_to_team(run, manager, trace, tmp_path, monkeypatch):
    pack = tmp_path / "team.pack"
    assert run("traces", "export", str(pack)).code == 0
    assert run("traces", "export", "-", trace.trace_id).out.encode() == pack.read_bytes()
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "other"))
    refused = run("traces", "import", str(pack), "--project", "shop")
    assert (refused.code, manager.keys.own().key_id in refused.err) == (3, True)
    waits = run("traces", "import", str(pack), "--project", "shop", "--unapproved", "--json").json
    assert (waits["stored"], waits["approved"]) == (1, False)
    assert run("traces", "list", "--project", "shop", "--json").json["standing"] == "unsigned"
    told = run("traces", "import", str(pack), "--project", "mine", "--trust")
    assert (told.code, "1 traces stored" in told.out) == (0, True)
    listed = run("traces", "list", "--project", "mine", "--json").json
    assert set(listed["marks"]) == {"unproved", "imported"}
    assert run("traces", "import", str(pack), "--project", "mine", "--json").json["known"] == 1
    again = run("traces", "import", str(pack), "--project", "mine", "--replace", "--json").json
    assert again["stored"] == 1
    assert run("traces", "list", "--project", "mine", "--json").json["version"] == 2


def test_packs_that_were_changed_or_are_none_store_nothing(run, manager, trace, tmp_path):
    pack = tmp_path / "team.pack"
    run("traces", "export", str(pack))
    pack.write_bytes(pack.read_bytes().replace(b"Second.", b"Third.."))
    assert run("traces", "import", str(pack), "--project", "shop").code != 0
    assert run("traces", "import", str(tmp_path)).code == 2
    assert run("traces", "import", str(tmp_path / "none")).code == 2
    assert run("traces", "import", str(pack), "--project", "../x").code == 2
    assert manager.list("shop") == []
