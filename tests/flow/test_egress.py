"""A command's network on the way of a goal: who grants it, what is on record, what is learned."""

from __future__ import annotations

import pytest

from llmos_workers import runtime_egress
from llmos_workers.contracts.modes import Mode
from llmos_workers.execution.net.egress import Egress
from llmos_workers.execution.sandbox import level1
from llmos_workers.kernel.gate_log import GateLog
from tests.support.script import calls, says, text, use
from tests.support.web import local_web

pytestmark = pytest.mark.parametrize(
    "flow", [{"security": {"allowed_hosts": ["example.com"]}}], indirect=True
)

GOAL = "Fetch the tides of Saint-Malo into tides.txt"
CURL = calls(use("Bash", 1, command="curl -sS http://docs.example.com/tides > tides.txt"))
AWAY = calls(use("Bash", 2, command="curl -sS http://example.com/tides && sleep 0"))
DONE = says(text("Done."))
AGENT = """---
name: fetcher
description: Fetches.
tools: [Bash]
network: [docs.example.com, other.example]
---
You fetch.
"""


@pytest.fixture
def web(monkeypatch):
    if level1.network_fault():
        pytest.skip(f"no networks for commands on this host: {level1.network_fault()}")
    with local_web() as found:
        found.says("/tides", "12 metres")
        made = lambda hosts, **facts: Egress(hosts, edge=found.edge, **facts)  # noqa: E731
        monkeypatch.setattr(runtime_egress, "Egress", made)
        yield found


def records(flow):
    entries = [entry.decision().record for entry in GateLog(flow.runtime.redis).after()]
    return [(r.decision.value, r.rule, r.source, r.agent) for r in entries if r.tool == "egress"]


def test_an_agent_reaches_what_its_file_and_the_settings_name(flow, web):
    flow.runtime.agents.load_agents()
    (flow.runtime.workspace.agents / "fetcher.md").write_text(AGENT)
    flow.model(CURL, AWAY, DONE)
    outcome = flow.run(GOAL, agent="fetcher")
    assert (flow.area / "tides.txt").read_text() == "12 metres"
    assert web.requests == [("docs.example.com", "/tides")]
    assert records(flow) == [
        ("allow", "egress:host", "command", "fetcher"),
        ("deny", "egress:host", "command", "fetcher"),
    ]
    told = [event["message"] for event in flow.events(outcome.goal_id, "notice")]
    assert any("content from outside (Bash: docs.example.com)" in words for words in told)
    # What it did out there is in no stage: nothing proves that it may be done again.
    trace = flow.trace(GOAL)
    assert trace.tainted
    assert not trace.proved
    assert "may have effects outside the project" in trace.error_notes
    flow.model(CURL, DONE)
    assert flow.run(GOAL, agent="fetcher").mode is not Mode.FOLLOWER


def test_a_project_has_the_last_word(flow, web):
    flow.runtime.agents.load_agents()
    (flow.runtime.workspace.agents / "fetcher.md").write_text(AGENT)
    (flow.area.parent / "project.toml").write_text('network = ["other.example"]\n')
    flow.model(CURL, DONE)
    flow.run(GOAL, agent="fetcher")
    assert not web.requests


def test_an_agent_without_a_grant_reaches_nothing(flow, web):
    flow.model(CURL, DONE)
    outcome = flow.run(GOAL)
    assert not web.requests
    assert not records(flow)
    assert outcome.tool_calls[0].exit_code
