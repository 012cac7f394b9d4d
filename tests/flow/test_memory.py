"""Memory in whole runs: sessions from journals, insights from sessions, and what follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.memory import Session
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.insights import GOAL_ID, PURPOSE, STALE_S
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.kernel import keys
from llmos_workers.rehearsal.brain import Brain
from tests.support.script import calls, says, text, use

GOAL = 'Write "12" into total.txt'
DONE = says(text("Done."))
SEARCHER = "---\nname: searcher\ndescription: d\ntools: [memory, memory_note, Write]\n---\nSearch."


def duty(flow: Any, name: str) -> str:
    return DUTIES[name](flow.runtime)


def sessions(flow: Any) -> list[Session]:
    return list(flow.runtime.sessions.newest("demo", limit=99))


def failing(flow: Any, number: int = 0) -> Any:
    """A run whose first call fails and whose second one works."""
    flow.model(
        calls(use("Read", 1, path="gone.csv")),
        calls(use("Write", 2, path=f"t{number}.txt", content="12")),
        DONE,
    )
    return flow.run(f'Write "{number}" into t{number}.txt, as gone.csv says')


def test_upkeep_writes_what_a_run_did_once(flow: Any) -> None:
    outcome = failing(flow)
    assert duty(flow, "write_sessions") == "1 written, 0 removed"
    [session] = sessions(flow)
    assert (session.goal_id, session.status, session.mode) == (
        outcome.goal_id,
        "SUCCEEDED",
        "LEARNER",
    )
    assert [(step.tool, step.ok) for step in session.steps] == [("Read", False), ("Write", True)]
    assert "gone.csv" in session.steps[0].error
    assert session.learned
    assert session.cost_micro == outcome.cost_micro
    assert duty(flow, "write_sessions") == "0 written, 0 removed"


def test_replays_are_told_by_their_traces(flow: Any) -> None:
    flow.model(calls(use("Write", path="total.txt", content="12")), DONE)
    assert flow.run(GOAL).ok
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    assert duty(flow, "write_sessions") == "1 written, 0 removed"


@pytest.mark.parametrize("flow", [{"memory": {"sessions": "off"}}], indirect=True)
def test_sessions_can_be_off(flow: Any) -> None:
    failing(flow)
    assert duty(flow, "write_sessions") == duty(flow, "extract_insights") == "off"


def test_a_session_holds_no_secret(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-ant-" + "q" * 20
    flow.model(calls(use("Write", path="k.txt", content="x")), says(text(f"The key is {key}.")))
    assert flow.run("Write the key into k.txt").ok
    duty(flow, "write_sessions")
    [path] = (flow.runtime.workspace.root / "memories/sessions/demo").glob("*.md")
    assert key not in path.read_text()


FEW: dict[str, Any] = {"memory": {"insight_sessions": 2}}


@pytest.mark.parametrize("flow", [FEW], indirect=True)
def test_insights_are_paid_once_and_told_to_later_learners(flow: Any) -> None:
    failing(flow, 1)
    duty(flow, "write_sessions")
    assert duty(flow, "extract_insights") == "nothing new"
    failing(flow, 2)
    duty(flow, "write_sessions")
    flow.server.brain = Brain(flow.server.families())
    before = flow.runtime.economy.scope("global")["spent"]
    said = duty(flow, "extract_insights")
    assert said.startswith("1 noted from 2 sessions, $")
    [entry] = [e for e in flow.ledger("settle") if e.purpose == PURPOSE]
    assert entry.goal_id == GOAL_ID
    assert flow.runtime.economy.scope("global")["spent"] - before == entry.micro > 0
    assert duty(flow, "extract_insights") == "nothing new"
    [note] = flow.runtime.memory_files.notes("demo")
    assert note.noted
    assert len(note.fields["sources"]) == 2

    flow.model(calls(use("Write", 7, path="r.txt", content="12")), DONE)
    goal = "Write the sum of gone.csv into r.txt"
    assert flow.run(goal, mode="learner").ok
    asked = json.dumps(flow.server.brain.requests[0]["messages"])
    assert "[MEMORY]" in asked
    assert "gone.csv does not exist" in asked or "Read failed" in asked
    trace = flow.trace(goal)
    assert [each.partition("@")[0] for each in trace.premises] == [f"memory:{note.path}"]
    assert flow.run(goal).mode is Mode.FOLLOWER
    # A new note changes nothing of what is known; who removes one that was told wants it redone.
    flow.runtime.noted.forget(note.path)
    outcome = flow.run(goal)
    assert outcome.mode is Mode.MIXED
    assert "no longer says that" in outcome.reason


@pytest.mark.parametrize("flow", [FEW], indirect=True)
def test_a_note_that_comes_later_breaks_no_trace(flow: Any) -> None:
    flow.model(calls(use("Write", 7, path="r.txt", content="12")), DONE)
    goal = "Write the sum of gone.csv into r.txt"
    assert flow.run(goal).ok
    failing(flow, 1)
    duty(flow, "write_sessions")
    flow.server.brain = Brain(flow.server.families())
    assert "1 noted" in duty(flow, "extract_insights")
    assert flow.run(goal).mode is Mode.FOLLOWER


@pytest.mark.parametrize(
    "flow", [{"memory": {"insight_sessions": 1, "insight_usd_per_day": 0.000001}}], indirect=True
)
def test_a_day_has_its_money(flow: Any) -> None:
    failing(flow, 1)
    failing(flow, 2)
    duty(flow, "write_sessions")
    flow.server.brain = Brain(flow.server.families())
    assert "noted from 1 sessions" in duty(flow, "extract_insights")
    assert duty(flow, "extract_insights").startswith("waits: the day's money")


@pytest.mark.parametrize("flow", [FEW], indirect=True)
def test_a_spent_budget_keeps_the_sessions_for_later(flow: Any, state: Any) -> None:
    failing(flow, 1)
    failing(flow, 2)
    duty(flow, "write_sessions")
    spent = flow.runtime.economy.scope("global")["spent"]
    flow.runtime.economy.set_limit("global", spent)
    assert duty(flow, "extract_insights").startswith("waits: ")
    assert state.zcard(keys.SESSIONS_FRESH) == 2


@pytest.mark.parametrize(
    "flow", [{"memory": {"insight_sessions": 9, "insights": True}}], indirect=True
)
def test_few_sessions_are_looked_through_when_they_are_old(flow: Any, state: Any) -> None:
    failing(flow)
    duty(flow, "write_sessions")
    [(name, at)] = state.zrange(keys.SESSIONS_FRESH, 0, -1, withscores=True)
    state.zadd(keys.SESSIONS_FRESH, {name: at - STALE_S - 1})
    flow.server.brain = Brain(flow.server.families())
    assert "from 1 sessions" in duty(flow, "extract_insights")


@pytest.mark.parametrize("flow", [{"dispatcher": {"llm_allowed": False}}], indirect=True)
def test_no_model_no_insights(flow: Any) -> None:
    assert duty(flow, "extract_insights") == "off"


# -- the tools ---------------------------------------------------------------------------------


@pytest.fixture
def searcher(flow: Any) -> Path:
    flow.runtime.agents.load_agents()
    path: Path = flow.runtime.workspace.root / "agents" / "searcher.md"
    path.write_text(SEARCHER)
    return path


def remembered(flow: Any, *, tainted: bool) -> None:
    flow.runtime.sessions.write(
        Session(
            goal_id="old",
            project="demo",
            at="2026-11-22T08:00:00Z",
            status="FAILED",
            goal="Convert the invoices",
            error="the invoices are in Latin-1",
            tainted=tainted,
        )
    )


@pytest.mark.parametrize("tainted", [False, True])
def test_a_model_searches_and_what_others_wrote_taints_it(
    flow: Any, searcher: Path, tainted: bool
) -> None:
    remembered(flow, tainted=tainted)
    flow.model(
        calls(use("memory", 1, query="invoices")),
        calls(use("memory_note", 2, title="Latin-1", text="Invoices are in Latin-1.")),
        DONE,
    )
    outcome = flow.run("Convert the new invoices", agent="searcher")
    assert outcome.ok
    assert bool(outcome.tainted) is tainted
    results = json.dumps(flow.server.brain.requests[1]["messages"])
    assert "Latin-1" in results
    [note] = flow.runtime.memory_files.notes("demo")
    assert (note.text, note.tainted, note.noted) == ("Invoices are in Latin-1.", tainted, True)
    assert note.fields["sources"] == [outcome.goal_id]
    duty(flow, "write_sessions")
    mine = flow.runtime.sessions.get("demo", outcome.goal_id)
    assert mine.tainted is tainted


def test_memory_is_granted_like_any_tool(flow: Any) -> None:
    flow.model(calls(use("memory", 1, query="invoices")), DONE)
    outcome = flow.run("Convert the invoices again")
    assert [call.ok for call in outcome.tool_calls] == [False]
