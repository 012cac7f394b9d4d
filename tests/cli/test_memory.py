"""``llmos memory``."""

from __future__ import annotations

from typing import Any

import pytest

from llmos_workers.contracts.memory import NoteKind, Session
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.insights import NewNote
from llmos_workers.learning.noted import NotedNotes
from llmos_workers.learning.sessions import Sessions

SESSION = Session(
    goal_id="g1", project="default", at="2026-11-22T08:00:00Z", status="FAILED", goal="Sum invoices"
)


@pytest.fixture
def memory(run: Any, state: Any, tmp_path: Any) -> Any:
    workspace = Workspace(tmp_path / "workspace").ensure()
    Sessions(workspace).write(SESSION)
    new = NewNote(NoteKind.FACT, "CHF", "Invoices are in CHF.", ("default",), ("g1",), False)
    NotedNotes(workspace, SystemClock()).add(new)

    def command(*arguments: str) -> Any:
        return run("--workspace", str(workspace.root), "memory", *arguments)

    return command


def test_search_show_forget(memory: Any) -> None:
    found = memory("search", "invoices", "--json").lines
    assert {hit["level"] for hit in found} == {"sessions", "notes"}
    [note] = memory("search", "--level", "notes", "--json").lines
    assert "by llmos, for default" in memory("show", note["name"]).out
    assert memory("show", note["name"], "--json").json["text"] == "Invoices are in CHF."
    assert "# Sum invoices" in memory("show", "g1").out
    assert memory("show", "g1", "--json").json["status"] == "FAILED"
    assert memory("show", note["name"], "--project", "other").code
    done = memory("forget", note["name"], "g1", "--json").lines
    assert {one["what"] for one in done} == {"forgotten"}
    assert "nothing remembered fits" in memory("search").out
    assert memory("forget", "g1").code
    assert memory("forget", "../../x.md").code
