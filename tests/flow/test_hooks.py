"""Hooks of a project in whole runs: what they tell and change is what a trace depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.learning.memory_files import FileMemory
from tests.support.script import calls, says, text, use

GOAL = 'Write "12" into total.txt'
DONE = says(text("Done."))


def told(flow: Any) -> str:
    """All that the last model was sent behind the goal."""
    message = flow.server.brain.requests[0]["messages"][0]
    return "\n".join(block["text"] for block in message["content"])


def note(flow: Any, name: str, words: str, project: str = "demo") -> None:
    head = f"---\nproject: {json.dumps(project)}\n---\n"
    flow.runtime.workspace.write_atomic(f"memories/facts/{name}.md", (head + words).encode())


def hook(flow: Any, answer: str, **setting: Any) -> Path:
    """The project's one hook: a script that answers with what a Python expression over the event
    ``e`` gives.
    """
    root: Path = flow.runtime.workspace.project("demo").root
    path = root / "hook"
    path.write_text(
        "#!/usr/bin/env python3\nimport json, sys\ne = json.load(sys.stdin)\n"
        f"print(json.dumps({answer}))\n"
    )
    path.chmod(0o755)
    named = {"use": "./hook", "timeout_secs": 60} | setting
    fields = ", ".join(f"{key} = {json.dumps(value)}" for key, value in named.items())
    (root / "project.toml").write_text(f"hooks = [{{{fields}}}]\n")
    return path


def learned(flow: Any, goal: str = GOAL) -> None:
    flow.model(calls(use("Write", path="total.txt", content="12")), DONE)
    assert flow.run(goal).status == "SUCCEEDED"


def modes(flow: Any, goal: str = GOAL) -> list[Mode]:
    """The modes that a repetition goes through."""
    flow.model(calls(use("Write", 7, path="total.txt", content="12")), DONE)
    assert flow.run(goal).status == "SUCCEEDED"
    return [decision.mode for decision in flow.decisions]


def test_a_trace_is_followed_while_memory_tells_what_it_told_the_learner(flow: Any) -> None:
    note(flow, "a", "The total is always rounded.")
    note(flow, "b", "The total of others is secret.", project="other")
    learned(flow)
    assert "[MEMORY]" in told(flow)
    assert "always rounded" in told(flow)
    assert "of others" not in told(flow)
    assert flow.trace(GOAL).premises
    assert modes(flow) == [Mode.FOLLOWER]
    note(flow, "a", "The total is never rounded.")
    assert modes(flow) == [Mode.FOLLOWER, Mode.MIXED]
    assert "never rounded" in told(flow)
    # The model did it again under what holds now: that is what is followed from now on.
    assert modes(flow) == [Mode.FOLLOWER]


def test_the_state_is_told_behind_the_goal_and_no_trace_depends_on_it(flow: Any) -> None:
    learned(flow)
    assert "[INTERNAL_STATE]" in told(flow)
    [request, *_] = flow.server.brain.requests
    assert "[INTERNAL_STATE]" not in json.dumps(request["system"])
    assert flow.trace(GOAL).premises == ()
    assert modes(flow) == [Mode.FOLLOWER]


def test_a_hook_that_leaves_changed_calls_alone_is_replayed_as_they_ran(flow: Any) -> None:
    """It rounds up what a model writes; what is rounded already stays."""
    hook(
        flow,
        '{"decision": "modify", "arguments": e["arguments"] | {"content": "13"}}',
        events=["PreToolUse"],
    )
    learned(flow)
    assert (flow.area / "total.txt").read_text() == "13"
    [step] = flow.trace(GOAL).steps
    assert step.call.arguments["content"] == "13"
    (flow.area / "total.txt").unlink()
    assert modes(flow) == [Mode.FOLLOWER]
    assert (flow.area / "total.txt").read_text() == "13"


def test_a_hook_that_would_change_a_replayed_call_hands_it_to_a_model(flow: Any) -> None:
    learned(flow)
    assert modes(flow) == [Mode.FOLLOWER]
    hook(
        flow,
        '{"decision": "modify", "arguments": e["arguments"] | {"content": "14"}}',
        events=["PreToolUse"],
    )
    assert modes(flow) == [Mode.FOLLOWER, Mode.MIXED]
    assert "changes this call, which a trace replays" in flow.decisions[-1].reason
    assert (flow.area / "total.txt").read_text() == "14"


def test_a_hook_that_refuses_a_goal_refuses_its_replay(flow: Any) -> None:
    learned(flow)
    hook(
        flow,
        '{"decision": "deny", "rule": "closed", "reason": "closed today"}',
        events=["UserPromptSubmit"],
    )
    flow.model(DONE)
    outcome = flow.run(GOAL)
    assert outcome.status == "FAILED"
    assert "closed today" in (outcome.error.message if outcome.error else "")
    assert flow.server.brain.requests == []


def test_a_word_in_mid_run_leaves_a_trace_that_only_helps(flow: Any) -> None:
    hook(flow, '{"decision": "inject", "context": "the price is 12"}', events=["PostToolUse"])
    learned(flow)
    trace = flow.trace(GOAL)
    assert not trace.proved
    assert "a hook told the model something" in trace.error_notes


def test_a_hook_that_hangs_denies_and_says_so_to_whoever_watches(flow: Any) -> None:
    path = hook(flow, '{"decision": "allow"}', events=["PreToolUse"], timeout_secs=0.3)
    path.write_text("#!/bin/sh\nsleep 60\n")
    flow.model(calls(use("Write", path="total.txt", content="12")), says(text("I could not.")))
    outcome = flow.run(GOAL)
    said = [data["message"] for data in flow.events(outcome.goal_id, "notice")]
    assert any("the hook hook failed" in words and "Timeout" in words for words in said)
    assert not (flow.area / "total.txt").exists()


@pytest.fixture
def memory(flow: Any) -> FileMemory:
    return FileMemory(flow.runtime.workspace)


def test_memory_files_are_shown_to_whom_they_are_for(flow: Any, memory: FileMemory) -> None:
    note(flow, "all", "Invoices are in CHF.", project="*")
    note(flow, "mine", "Invoices go to the archive.")
    note(flow, "other", "Invoices of the others.", project="other")
    write = flow.runtime.workspace.write_atomic
    write("memories/facts/nobody.md", b"Invoices, said by nobody knows whom.")
    write("memories/facts/broken.md", b"---\nproject: [demo\nInvoices\n")
    write("memories/projects/demo/own.md", b"Invoices have numbers.")
    write("memories/projects/other/own.md", b"Invoices elsewhere.")
    write("memories/insights/page.md", b"---\nproject: [demo]\ntainted: true\n---\nInvoices rot.")
    found = memory.recall("demo", "Sum up the invoices", limit=9)
    assert {each.source for each in found} == {
        *("facts/all.md", "facts/mine.md", "insights/page.md", "projects/demo/own.md")
    }
    assert [each.source for each in found if each.tainted] == ["insights/page.md"]
    assert len(memory.recall("demo", "Sum up the invoices", limit=2)) == 2
    [best] = memory.recall("demo", "which numbers do invoices have", limit=1)
    assert best.source == "projects/demo/own.md"
    assert memory.recall("demo", "bake a cake", limit=9) == []


def test_a_project_s_ceiling_takes_away_what_an_agent_is_granted(flow: Any) -> None:
    (flow.runtime.workspace.project("demo").root / "project.toml").write_text('tools = ["Read"]\n')
    flow.model(calls(use("Write", path="total.txt", content="12")), says(text("I could not.")))
    flow.run(GOAL)
    [record] = [entry.decision().record for entry in GateLog(flow.runtime.redis).newest()]
    assert (record.tool, record.rule) == ("Write", "grant")
    offered = {block["name"] for block in flow.server.brain.requests[0]["tools"]}
    assert "Write" not in offered
    (flow.runtime.workspace.project("demo").root / "project.toml").write_text("tools = 3\n")
    outcome = flow.run("Another goal")
    assert outcome.status == "FAILED"
    assert "project.toml:1: tools" in outcome.error.message
