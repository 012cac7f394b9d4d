"""``llmos sentience`` and ``llmos improve``."""

from __future__ import annotations

from typing import Any

from llmos_workers.flow.improve import Improvement
from llmos_workers.kernel import keys
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.sentience.improvement import SelfImprovementSuggestion, SelfImprovementType


def test_show_trigger_history_plot_and_reset(run: Any, state: Any, tmp_path: Any) -> None:
    workspace = Workspace(tmp_path / "workspace").ensure()
    base = ("--workspace", str(workspace.root), "sentience")
    assert "mode balanced" in run(*base, "show").out
    moved = run(*base, "trigger", "safety_violation", "--why", "a test", "--json").json
    assert moved["last_trigger"] == "safety_violation"
    shown = run(*base, "show", "--self").out
    assert "safety" in shown
    assert "[SELF_MODEL]" in shown
    assert "self_model" in run(*base, "show", "--self", "--json").json
    assert "a test" in run(*base, "history").out
    assert len(run(*base, "history", "--json").lines) == 1
    run(*base, "trigger", "task_success")
    drawing = tmp_path / "state.svg"
    assert "drawn" in run(*base, "history", "--plot", str(drawing)).out
    assert drawing.read_text().count("<polyline") == 4
    snapshot = workspace.project("default").state / "sentience.json"
    snapshot.write_text("{}")
    assert "begins again" in run(*base, "reset", "--yes").out
    assert not snapshot.exists()
    assert run(*base, "history", "--json").lines == []


def kept(state: Any, kind: SelfImprovementType, key: str) -> None:
    suggestion = SelfImprovementSuggestion(type=kind, description="do it", priority=0.5)
    one = Improvement(key=key, project="default", suggestion=suggestion)
    state.hset(keys.improvements("default"), key, one.model_dump_json())


def test_improve(run: Any, state: Any) -> None:
    assert "nothing to improve" in run("improve", "list").out
    kept(state, SelfImprovementType.CRYSTALLIZE_PATTERN, "k1")
    kept(state, SelfImprovementType.AUDIT_ARCHITECTURE, "k2")
    assert "(for people)" in run("improve", "list").out
    assert run("improve", "apply", "k1", "--json").json["state"] == "wanted"
    assert run("improve", "apply", "k2").code
    assert run("improve", "apply", "k3").code
    assert "dismissed" in run("improve", "dismiss", "k2").out
    assert [each["key"] for each in run("improve", "list", "--json").lines] == ["k1"]
    assert len(run("improve", "list", "--all", "--json").lines) == 2
