"""``llmos tools``."""

from __future__ import annotations

import json

from llmos_cli.main import main

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
    names = [tool["name"] for tool in json.loads(capsys.readouterr().out)]
    assert {"Read", "Python", "ring_bell"} <= set(names)
    assert main([*llmos, "show", "ring_bell"]) == 0
    assert "Ring the bell" in capsys.readouterr().out
    assert main([*llmos, "search", "ring", "a", "bell", "--words", "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("ring_bell")


def test_only_files_of_the_workspace_s_tools_are_signed(tmp_path, capsys):
    (tmp_path / "x.py").write_text(FILE)
    assert main(["--workspace", str(tmp_path), "tools", "sign", str(tmp_path / "x.py")]) == 2
    assert "no Python file of" in capsys.readouterr().err
