"""What traces were before is kept, readable, and bounded."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.learning import trace_history
from tests.learning.conftest import make_trace


def edit(workspace, trace, old, new):
    (file,) = (workspace.traces / trace.project).glob(f"*-{trace.trace_id}.md")
    file.write_text(file.read_text().replace(old, new))


def test_a_new_version_leaves_the_old_one_in_the_history(manager):
    first = manager.save_trace(make_trace(answer="one"))
    manager.save_trace(make_trace(answer="two"))
    manager.save_trace(make_trace(answer="three"))
    old = manager.history.versions("default", first.trace_id)
    assert [(v.version, manager.history.read(v).answer) for v in old] == [(1, "one"), (2, "two")]
    assert manager.history.at("default", first.trace_id, 2).answer == "two"
    assert manager.history.at("default", first.trace_id, 9) is None


def test_an_edit_by_hand_leaves_what_it_replaced(manager, workspace):
    trace = manager.save_trace(make_trace(answer="mine"))
    edit(workspace, trace, "answer: mine", "answer: yours")
    assert manager.get("default", trace.trace_id).answer == "yours"
    (old,) = manager.history.versions("default", trace.trace_id)
    assert (old.version, manager.history.read(old).answer) == (1, "mine")


def test_wordings_and_counters_are_no_history(manager):
    trace = manager.save_trace(make_trace())
    manager.add_alias("default", trace.trace_id, "Make hello.py")
    manager.update_trace_stats("default", trace.trace_id, success=True)
    manager.flush_counters()
    assert manager.history.versions("default", trace.trace_id) == []


def test_the_history_is_bounded_and_no_scan_reads_it(manager, monkeypatch):
    monkeypatch.setattr(trace_history, "KEPT", 3)
    for n in range(6):
        trace = manager.save_trace(make_trace(answer=str(n)))
    old = manager.history.versions("default", trace.trace_id)
    assert [v.version for v in old] == [3, 4, 5]
    assert manager.scan().added == 0
    assert [t.answer for t in manager.list("default")] == ["5"]


def test_a_file_that_names_another_trace_is_refused(manager, workspace):
    trace = manager.save_trace(make_trace(answer="a"))
    manager.save_trace(make_trace(answer="b"))
    (old,) = manager.history.versions("default", trace.trace_id)
    file = workspace.root / old.path
    file.write_text(file.read_text().replace(f"trace_id: {trace.trace_id}", "trace_id: other"))
    with pytest.raises(MalformedFile, match="another trace"):
        manager.history.read(old)


def test_links_in_the_history_are_not_followed(manager, workspace, tmp_path):
    trace = manager.save_trace(make_trace(answer="a"))
    manager.save_trace(make_trace(answer="b"))
    (old,) = manager.history.versions("default", trace.trace_id)
    file = workspace.root / old.path
    file.rename(tmp_path / "elsewhere.md")
    file.symlink_to(tmp_path / "elsewhere.md")
    assert manager.history.versions("default", trace.trace_id) == []
