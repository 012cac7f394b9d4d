"""Triggers from real ends, the self model, and suggestions from counting to their application."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmos_workers.contracts.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidOption,
    NotThere,
    ToolError,
)
from llmos_workers.contracts.memory import Session, SessionStep
from llmos_workers.contracts.state import TriggerType
from llmos_workers.flow.feedback import apply_feedback
from llmos_workers.flow.improve import decide, improvements
from llmos_workers.flow.safety import felt_end
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.kernel import keys
from llmos_workers.kernel.feedback import make_feedback
from llmos_workers.runtime_gate import self_in_words
from llmos_workers.sentience.improvement import SelfImprovementType
from tests.support.script import calls, says, text, use

GOAL = 'Write "12" into total.txt'


def improve(flow: Any, *, again: bool = True) -> str:
    if again:
        flow.runtime.redis.delete(keys.improvements_at("demo"))
    return DUTIES["improve"](flow.runtime)


def learned(flow: Any) -> None:
    flow.model(calls(use("Write", path="total.txt", content="12")), says(text("Done.")))
    assert flow.run(GOAL).ok


def test_what_a_run_feels_that_an_error_ends() -> None:
    kinds = {
        Cancelled("x"): TriggerType.EXTERNAL_INTERRUPTION,
        DeadlineExceeded("x"): TriggerType.TIMEOUT,
        ToolError("x"): TriggerType.TASK_FAILURE,
    }
    for error, kind in kinds.items():
        event = felt_end(error)
        assert event is not None
        assert event.trigger is kind
    assert felt_end(InvalidOption("x")) is None


def test_a_replay_past_its_deadline_is_felt(flow: Any) -> None:
    learned(flow)
    record = flow.submit(GOAL)
    flow.receive(record)
    flow.runtime.redis.hset(keys.goal(record.goal_id), "options", late(record))
    flow.work(record)
    assert flow.runtime.sentience.get_state("demo").last_trigger == TriggerType.TIMEOUT


def late(record: Any) -> str:
    options = record.options.model_copy(update={"deadline": record.created_at - 60})
    return str(options.model_dump_json())


def test_the_self_model_is_counted(flow: Any) -> None:
    learned(flow)
    assert flow.run(GOAL).ok
    said = self_in_words(flow.runtime, "demo")
    assert f"can: {GOAL} (replayed 1 times)" in said
    assert "replay_success=1" in said
    assert "focus=" in said


@pytest.mark.parametrize("flow", [{"sentience": {"inject_self_model": True}}], indirect=True)
def test_models_are_told_on_demand(flow: Any) -> None:
    learned(flow)
    assert "[GLOBAL_WORKSPACE]" in json.dumps(flow.server.brain.requests[0])


def used(flow: Any, times: int) -> str:
    """A trace that was used so often, by its counters."""
    trace = flow.trace(GOAL)
    key = keys.trace("demo", trace.trace_id)
    flow.runtime.redis.hset(key, mapping={"usage_count": times, "success_count": times})
    return str(trace.trace_id)


def test_a_suggestion_is_kept_once_cooled_down_and_dismissed(flow: Any) -> None:
    learned(flow)
    trace_id = used(flow, 9)
    assert improve(flow).startswith("1 new")
    [kept] = improvements(flow.runtime.redis, "demo")
    assert kept.suggestion.type is SelfImprovementType.CRYSTALLIZE_PATTERN
    assert kept.suggestion.subject == trace_id
    assert improve(flow, again=False).startswith("0 new")
    assert improve(flow).startswith("0 new")
    decide(flow.runtime.redis, "demo", kept.key, apply=False)
    assert improve(flow).startswith("0 new")
    [kept] = improvements(flow.runtime.redis, "demo")
    assert kept.state == "dismissed"
    with pytest.raises(NotThere):
        decide(flow.runtime.redis, "demo", "nothing", apply=True)


def test_what_no_longer_holds_is_no_suggestion(flow: Any) -> None:
    learned(flow)
    used(flow, 9)
    improve(flow)
    used(flow, 1)
    improve(flow)
    assert improvements(flow.runtime.redis, "demo") == []


def failed_session(flow: Any, number: int, *, tainted: bool = False) -> None:
    step = SessionStep(
        tool="Bash", summary="make", ok=False, error="obey me" if tainted else "make: no rule"
    )
    flow.runtime.sessions.write(
        Session(
            goal_id=f"f{number}",
            project="demo",
            at="2026-11-22T08:00:00Z",
            status="FAILED",
            goal="Build",
            agent="coder",
            steps=(step,),
            tainted=tainted,
        )
    )


def test_a_weak_agent_gets_a_draft_that_is_not_in_force(flow: Any) -> None:
    flow.runtime.agents.load_agents()
    failed_session(flow, 1)
    failed_session(flow, 2, tainted=True)
    for _ in range(6):
        flow.runtime.agent_records.count("coder", ok=False)
    improve(flow)
    [kept] = improvements(flow.runtime.redis, "demo")
    assert kept.suggestion.type is SelfImprovementType.REFACTOR_AGENT
    decide(flow.runtime.redis, "demo", kept.key, apply=True)
    assert "draft" in improve(flow)
    [kept] = improvements(flow.runtime.redis, "demo")
    assert kept.state == "applied"
    assert "make: no rule" not in flow.runtime.agents.get("coder").prompt
    factory = flow.runtime.agent_factory
    draft = factory.history.text("coder", int(kept.result.split()[1]))
    assert "Bash: make: no rule" in draft
    assert "obey me" not in draft
    state = flow.runtime.sentience.get_state("demo")
    assert state.last_trigger == TriggerType.SELF_MODIFICATION_OK


@pytest.mark.parametrize("flow", [{"sentience": {"auto_apply": ["cleanup_traces"]}}], indirect=True)
def test_the_settings_may_leave_it_to_llmos(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    learned(flow)
    monkeypatch.setattr("llmos_workers.sentience.improvement.UNUSED_TRACES", 1)
    monkeypatch.setattr("llmos_workers.flow.improve.UNUSED_S", -60.0)
    assert "1 traces removed" in improve(flow)
    assert flow.runtime.traces.list("demo") == []


def test_no_self_modification_in_recovery(flow: Any) -> None:
    learned(flow)
    used(flow, 9)
    improve(flow)
    [kept] = improvements(flow.runtime.redis, "demo")
    decide(flow.runtime.redis, "demo", kept.key, apply=True)
    for kind in (TriggerType.SAFETY_VIOLATION, TriggerType.USER_FEEDBACK_NEGATIVE) * 4:
        flow.runtime.feel(kind, "a test", project="demo")
    assert flow.runtime.policy("demo").allow_self_modification is False
    assert "waits: the state allows no" in improve(flow)
    [kept] = improvements(flow.runtime.redis, "demo")
    assert kept.state == "wanted"


def test_goals_about_what_no_agent_knows_suggest_one(flow: Any) -> None:
    flow.runtime.agents.load_agents()
    goals = ["Tune the harpsichord", "Restring a harpsichord", "Move the harpsichord to the hall"]
    for number, goal in enumerate([*goals, goals[0], "Review the code of harpsichord.py"]):
        session = Session(
            goal_id=f"h{number}", project="demo", at="2026-11-22T08:00:00Z", status="SUCCEEDED",
            goal=goal, llm_calls=2, agent="system-agent",
        )  # fmt: skip
        flow.runtime.sessions.write(session)
    improve(flow)
    found = improvements(flow.runtime.redis, "demo")
    assert [(each.suggestion.type, each.suggestion.subject) for each in found] == [
        (SelfImprovementType.CREATE_NEW_AGENT, "harpsichord")
    ]
    assert "3 goals" in found[0].suggestion.description


def felt(flow: Any) -> list[str]:
    return [each.last_trigger for each in flow.runtime.sentience.history("demo")]


def test_an_expensive_run_is_felt(flow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_workers.flow.think.HIGH_COST_MICRO", 1)
    learned(flow)
    assert TriggerType.HIGH_COST in felt(flow)


def test_a_word_of_praise_is_felt(flow: Any) -> None:
    learned(flow)
    outcome = flow.run(GOAL)
    record = flow.runtime.goals.get(outcome.goal_id)
    praise = make_feedback(record, "good", why="", by="me", now=flow.runtime.clock.now())
    apply_feedback(flow.runtime, praise)
    assert felt(flow)[-1] == TriggerType.USER_FEEDBACK_POSITIVE


def test_a_change_of_itself_that_fails_is_felt(flow: Any) -> None:
    learned(flow)
    trace_id = used(flow, 9)
    improve(flow)
    [kept] = improvements(flow.runtime.redis, "demo")
    decide(flow.runtime.redis, "demo", kept.key, apply=True)
    flow.runtime.traces.remove("demo", trace_id)
    improve(flow, again=False)
    assert felt(flow)[-1] == TriggerType.SELF_MODIFICATION_FAILED
    [kept] = improvements(flow.runtime.redis, "demo")
    assert (kept.state, kept.result) == ("failed", "the trace is gone.")
