"""Goals that cannot end well end in words, in the right final state, and lose nothing."""

from datetime import timedelta

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.contracts.errors import InvalidGoal, InvalidOption, UnknownAgent
from llmos_workers.contracts.modes import Mode
from tests.support.wait import wait_until

TIMEOUT = 60
CALCULATOR = "Create a Python calculator"


def run(llmos, goal, project, **options):
    return llmos.submit(goal, project=project, **options).result(TIMEOUT)


@pytest.mark.parametrize(
    "bad",
    [
        {"project": "../up"},
        {"mode": "warp"},
        {"budget_usd": 0},
        {"budget_usd": float("nan")},
        {"budget_usd": float("inf")},
        {"budget_usd": -1},
        {"priority": 7},
    ],
)
def test_wrong_options_are_refused_before_anything_is_stored(llmos, bad):
    before = len(llmos.list(limit=1_000))
    with pytest.raises(InvalidOption):
        llmos.submit(CALCULATOR, **bad)
    assert len(llmos.list(limit=1_000)) == before


@pytest.mark.parametrize("goal", ["", " \n", "x" * 1_000_000])
def test_wrong_goals_are_refused_before_anything_is_stored(llmos, goal):
    with pytest.raises(InvalidGoal):
        llmos.submit(goal)


def test_an_unknown_agent_is_named_with_the_known_ones(llmos, project):
    with pytest.raises(UnknownAgent, match="system-agent"):
        llmos.submit(CALCULATOR, project=project, agent="nobody")


def test_a_budget_too_small_is_rejected_with_the_numbers(llmos, project, served):
    before = served()
    outcome = run(llmos, CALCULATOR, project, budget_usd="0.000001")
    assert outcome.status == "REJECTED"
    assert outcome.error.kind == "BudgetExceeded"
    assert "$0.000001" in outcome.error.message
    assert (outcome.cost_micro, served()) == (0, before)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("crystallized", "NoTrace"), ("follower", "NoTrace")],
)
def test_a_mode_that_cannot_be_is_refused_not_replaced(llmos, project, served, mode, kind):
    before = served()
    outcome = run(llmos, CALCULATOR, project, mode=mode)
    assert (outcome.status, outcome.error.kind) == ("REJECTED", kind)
    assert served() == before


def test_a_passed_deadline_starts_nothing(llmos, project, served):
    before = served()
    outcome = run(llmos, CALCULATOR, project, deadline=timedelta(milliseconds=1))
    assert (outcome.status, outcome.error.kind) == ("FAILED", "DeadlineExceeded")
    assert served() == before


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("unauthorized", "ModelUnauthorized", "key"),
        ("bad_request", "ModelRefusedRequest", ""),
    ],
)
def test_an_endpoint_that_refuses_ends_the_goal_at_once(llmos, system, fault, kind, words):
    project = f"refused-{fault.replace('_', '-')}"
    system.rehearsal.faults.next(fault)
    outcome = run(llmos, CALCULATOR, project)
    assert (outcome.status, outcome.error.kind) == ("FAILED", kind)
    assert words in f"{outcome.error.message} {outcome.error.fix}"
    assert outcome.cost_micro == 0


def test_a_short_fault_of_the_endpoint_is_got_over(llmos, system, project):
    system.rehearsal.faults.next("overloaded", "rate_limit:0")
    outcome = run(llmos, CALCULATOR, project)
    assert outcome.status == "SUCCEEDED", outcome.error


def test_a_failed_run_is_not_learned(llmos, system, project):
    system.rehearsal.faults.next("unauthorized")
    assert run(llmos, CALCULATOR, project).status == "FAILED"
    assert run(llmos, CALCULATOR, project).mode is Mode.LEARNER


def test_cancel_stops_a_run_that_waits_for_its_model(llmos, system, project, output, served):
    before = served()
    system.rehearsal.faults.next("stall:2")
    handle = llmos.submit(CALCULATOR, project=project)
    faults = system.rehearsal.faults
    wait_until(lambda: faults.untaken == 0, what="the model is asked")
    handle.cancel()
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "CANCELLED"
    assert not list(output.iterdir())
    # The server logs a stalled answer when its client has hung up; later tests count the log.
    wait_until(lambda: served() > before, what="the stalled call ends")


def test_a_trace_file_that_was_deleted_is_forgotten(llmos, system, project):
    run(llmos, CALCULATOR, project)
    folder = system.config.workspace / "memories" / "traces" / project
    for path in folder.glob("*.md"):
        path.unlink()
    assert run(llmos, CALCULATOR, project).mode is Mode.LEARNER


def test_a_malformed_trace_file_is_skipped_and_the_rest_works(llmos, system, project):
    run(llmos, CALCULATOR, project)
    folder = system.config.workspace / "memories" / "traces" / project
    (folder / "broken.md").write_text("---\ngoal_text: [unclosed\n---\n")
    assert run(llmos, CALCULATOR, project).mode is Mode.FOLLOWER


def test_an_output_folder_that_cannot_be_written_ends_in_words(llmos, system, project, output):
    output.rmdir()
    output.write_text("a file in the folder's place")
    outcome = run(llmos, CALCULATOR, project)
    assert outcome.status == "FAILED"
    assert "output" in f"{outcome.error.message} {outcome.error.fix}"
    assert outcome.error.kind != "InternalError"


def test_the_same_idempotency_key_is_one_goal(llmos, project):
    first = llmos.submit(CALCULATOR, project=project, idempotency_key="k")
    second = llmos.submit(CALCULATOR, project=project, idempotency_key="k")
    assert first.id == second.id
    assert first.result(TIMEOUT).ok
    with pytest.raises(InvalidOption, match=first.id):
        llmos.submit("Something else", project=project, idempotency_key="k")


def test_a_message_delivered_twice_runs_once(llmos, system, project, served):
    from llmos_workers.kernel import wire

    handle = llmos.submit(CALCULATOR, project=project)
    before = served()
    wire.publish(llmos.broker, [handle.record()])
    outcome = handle.result(TIMEOUT)
    assert outcome.ok
    assert handle.record().deliveries == 1
    assert served() - before <= outcome.llm_calls


def test_an_index_that_is_away_stops_what_needs_it_and_nothing_else(system, project, llmos):
    """With a Qdrant server configured that does not answer, exact repeats still replay."""
    from llmos_workers.embedded.local import LocalSystem

    config = system.config
    url = {"qdrant_url": "http://127.0.0.1:1"}
    folder = config.workspace.parent / "no-index"
    lost = config.model_copy(
        update={
            "workspace": folder,
            "index": config.index.model_copy(update=url),
            "redis": config.redis.model_copy(update={"url": None}),
        }
    )
    with (
        LocalSystem(lost, roles=("dispatch", "llm", "replay")) as other,
        LLMOS(other.config) as client,
    ):
        outcome = run(client, CALCULATOR, project)
        assert (outcome.status, outcome.error.kind) == ("FAILED", "IndexUnavailable")
        assert "127.0.0.1:1" in outcome.error.message


AGENT = """---
name: {name}
description: An agent of the tests.
tools: [{tools}]
{more}
---

You do what the goal says.
"""


def write_agent(system, name, tools="Read, Write, Bash", more=""):
    path = system.config.workspace / "agents" / f"{name}.md"
    path.write_text(AGENT.format(name=name, tools=tools, more=more))
    return path


def test_an_unknown_model_is_an_error_and_never_free(llmos, system, project, served):
    write_agent(system, "odd-model", more="model: no-such-model-1")
    before = served()
    outcome = run(llmos, CALCULATOR, project, agent="odd-model")
    assert (outcome.status, outcome.error.kind) == ("FAILED", "UnknownModel")
    assert "no-such-model-1" in outcome.error.message
    assert "prices.toml" in f"{outcome.error.message} {outcome.error.fix}"
    assert served() == before


def test_a_malformed_agent_is_refused_and_the_others_work(llmos, system, project):
    path = system.config.workspace / "agents" / "broken.md"
    path.write_text("---\nname: broken\ntools: {not a list\n---\nx\n")
    try:
        assert run(llmos, CALCULATOR, project).ok
    finally:
        path.unlink()


def test_an_agent_without_a_grant_cannot_use_the_tool(llmos, system, project, output):
    write_agent(system, "no-write", tools="Read")
    outcome = run(llmos, CALCULATOR, project, agent="no-write")
    assert not list(output.iterdir())
    assert all(not call.ok for call in outcome.tool_calls if call.name == "Write")


def test_a_replay_runs_under_todays_grants(llmos, system, project, output):
    write_agent(system, "shrinking")
    assert run(llmos, CALCULATOR, project, agent="shrinking").mode is Mode.LEARNER
    write_agent(system, "shrinking", tools="Read, Write")
    outcome = run(llmos, CALCULATOR, project, agent="shrinking")
    assert outcome.mode is not Mode.FOLLOWER
    assert "grant" in outcome.reason
