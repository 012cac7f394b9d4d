"""``llmos hooks``."""

from __future__ import annotations

import json

import pytest

from llmos_cli.main import main

HOOK = """#!/usr/bin/env python3
import json, sys
event = json.load(sys.stdin)
if event["event"] == "UserPromptSubmit":
    print(json.dumps({"decision": "inject", "context": "Use CHF."}))
elif event["tool"] == "Bash":
    reason = event["arguments"]["command"]
    print(json.dumps({"decision": "deny", "rule": "no-shell", "reason": reason}))
else:
    print(json.dumps({"decision": "allow"}))
"""


@pytest.fixture
def llmos(tmp_path):
    root = tmp_path / "projects" / "demo"
    root.mkdir(parents=True)
    (root / "check").write_text(HOOK)
    (root / "check").chmod(0o755)
    (root / "project.toml").write_text('hooks = ["./check", {use = "gone:Hook"}]\n')
    return ["--workspace", str(tmp_path), "hooks"]


def test_hooks_of_a_project_are_listed_with_what_is_wrong(llmos, capsys):
    assert main([*llmos, "list", "--project", "demo"]) == 0
    out = capsys.readouterr().out
    assert "check                    PreToolUse, PostToolUse, OnError, UserPromptSubmit" in out
    assert "gone:Hook                CANNOT BE USED: ModuleNotFoundError" in out
    assert main([*llmos, "list"]) == 0
    assert "no hooks." in capsys.readouterr().out


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_hook_is_tried_without_running_anything(llmos, capsys):
    asked = [*llmos, "test", "check", "--project", "demo", "--json"]
    assert main(asked) == 0
    answers = {each["event"]: each for each in lines(capsys)}
    assert answers["PreToolUse"]["decision"] == "allow"
    assert answers["UserPromptSubmit"]["context"] == ["Use CHF."]
    command = '{"command": "rm -rf /"}'
    assert main([*asked, "--event", "PreToolUse", "--tool", "Bash", "--arguments", command]) == 0
    [answer] = lines(capsys)
    assert (answer["decision"], answer["rule"], answer["reason"]) == (
        "deny",
        "no-shell",
        "rm -rf /",
    )


def test_a_hook_that_fails_makes_the_test_fail(llmos, capsys):
    assert main([*llmos, "test", "--project", "demo"]) == 1
    assert "the hook gone:Hook failed" in capsys.readouterr().out
    assert main([*llmos, "test", "nobody", "--project", "demo"]) != 0
    assert main([*llmos, "test", "--project", "demo", "--arguments", "[1]"]) == 2
