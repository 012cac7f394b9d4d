"""``llmos tools``."""

from __future__ import annotations

import json

from llmos_cli.main import main
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.traces import TraceManager
from tests.learning.conftest import make_trace
from tests.support.generated import plant

FILE = '''
from llmos_workers import llm_tool

@llm_tool
def ring_bell(times: int) -> str:
    """Ring the bell of the house."""
    return ""
'''


def test_tools_are_listed_shown_found_and_signed(tmp_path, capsys):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "bell.py").write_text(FILE)
    llmos = ["--workspace", str(tmp_path), "tools"]
    assert main([*llmos, "show", "ring_bell"]) != 0
    assert main([*llmos, "sign", str(tools / "bell.py")]) == 0
    capsys.readouterr()
    assert main([*llmos, "list", "--json"]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert {"Read", "Python", "ring_bell"} <= set(names)
    assert main([*llmos, "show", "ring_bell"]) == 0
    assert "Ring the bell" in capsys.readouterr().out
    assert main([*llmos, "search", "ring", "a", "bell", "--words", "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("ring_bell")


def test_only_files_of_the_workspace_s_tools_are_signed(tmp_path, capsys):
    (tmp_path / "x.py").write_text(FILE)
    assert main(["--workspace", str(tmp_path), "tools", "sign", str(tmp_path / "x.py")]) == 2
    assert "no Python file of" in capsys.readouterr().err


def test_generated_tools_are_listed_shown_and_taken_out_of_use(run, state, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    workspace = Workspace(tmp_path / "w").ensure()
    manager = TraceManager(state, workspace)
    assert "no trace has been compiled" in run("tools", "generated").out
    shelf = GeneratedTools(workspace, manager.keys)
    trace = manager.save_trace(make_trace())
    ref = plant(shelf, manager, trace, '    tools.call("Write", path="a", content="")', name="note")
    (tool,) = run("tools", "generated", "--json").lines
    assert (tool["ref"], tool["state"]) == (ref, "in use")
    assert 'tools.call("Write"' in run("tools", "show", "note").out
    assert run("tools", "show", "nothing").code != 0
    assert "is disabled (by ada)" in run("tools", "disable", "note", "--by", "ada").out
    assert "in use" in run("tools", "rollback", "note", "--version", "1").out
    assert "the trace is replayed" in run("tools", "rollback", "note").out
    assert "disabled" in run("tools", "generated").out
    sent = run("tools", "generalize", trace.trace_id, "--json").json
    assert sent["traces"] == [trace.trace_id]
    assert run("list", "--json").lines[0]["goal_id"] == sent["goal_id"]
