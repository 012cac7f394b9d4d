"""Traces and logs of a real fleet: one goal is one trace over all its processes and deaths, each
log line inside of it names it, and neither tells what was said.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.config_telemetry import TelemetryConfig
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.kernel import keys
from tests.support.collector import Collector, Seen, collector
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 60
GOAL = "Build a calculator in Python"
CANARY = "hunter2-canary-77e1"


@pytest.fixture(scope="module")
def seen() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, seen: Collector) -> Iterator[LocalSystem]:
    """A system of this module's own, which tells what it does."""
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path_factory.mktemp("telling") / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 1.5, "recovery_grace_secs": 2.0},
            "redis": {"visibility_timeout_secs": 3_600},
            "memory": {"insights": False},
            "logging": {"format": "json"},
            "telemetry": {"enabled": True, "endpoint": seen.url},
        }
    )
    env = {"OTEL_BSP_SCHEDULE_DELAY": "200", "LLMOS_TEST_TOKEN": CANARY}
    roles = {"dispatch": 2, "llm": 4, "replay": 1}
    with LocalSystem(config, roles=roles, env=env) as running:
        yield running


@pytest.fixture
def llmos(system: LocalSystem) -> Iterator[LLMOS]:
    """A client in this process: it traces nothing, which is the workers' business here."""
    with LLMOS(system.config.model_copy(update={"telemetry": TelemetryConfig()})) as client:
        yield client


def submit(system: LocalSystem, seen: Collector, text: str, project: str) -> str:
    """``llmos submit`` in a process of its own, which sends its span before it ends."""
    env = os.environ | {
        "LLMOS_REDIS_URL": system.config.redis.url,
        "LLMOS_WORKSPACE": str(system.config.workspace),
        "LLMOS_TELEMETRY__ENABLED": "true",
        "LLMOS_TELEMETRY__ENDPOINT": seen.url,
    }
    command = [sys.executable, "-m", "llmos_cli", "submit", "--json", "--no-wait"]
    ran = subprocess.run(
        [*command, "--project", project, text], env=env, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)["goal_id"]


def spans_of(seen: Collector, goal_id: str, *names: str) -> list[Seen]:
    """All spans of a goal's trace, once those with these names have come."""
    wait_until(
        lambda: set(names) <= {span.name for span in seen.of(goal_id)},
        TIMEOUT, f"spans {names}; there are {[s.name for s in seen.of(goal_id)]}",
    )  # fmt: skip
    return seen.of(goal_id)


def above(spans: list[Seen], span: Seen) -> list[str]:
    """Names of the spans that it lies in, the nearest first."""
    by_id = {each.span_id: each for each in spans}
    names = []
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names


def one(spans: list[Seen], name: str) -> Seen:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_a_goal_is_one_trace_from_its_submitter_to_its_tools(system, llmos, seen):
    goal_id = submit(system, seen, GOAL, "told")
    assert llmos.get(goal_id).result(TIMEOUT).ok
    spans = spans_of(seen, goal_id, "llmos.think", "execute_tool Write", "llmos.submit")
    assert len({span.trace_id for span in spans}) == 1
    roots = [span.name for span in spans if not span.parent_id]
    assert roots == ["llmos.submit"]
    dispatch, think = one(spans, "llmos.goal"), one(spans, "llmos.think")
    assert above(spans, dispatch) == ["llmos.submit"]
    assert above(spans, think) == ["llmos.goal", "llmos.submit"]
    assert {span.service for span in spans} == {"llmos-client", "llmos-dispatch", "llmos-llm"}
    assert dispatch.facts["llmos.next_mode"] == "LEARNER"
    assert think.facts["llmos.status"] == "SUCCEEDED"
    model = [span for span in spans if span.name == "llmos.model_call"]
    assert all(above(spans, span)[0] == "llmos.think" for span in model)
    assert (
        sum(span.facts["llmos.cost_microdollars"] for span in model)
        == (think.facts["llmos.cost_microdollars"])
    )
    sdk = [span for span in spans if span.facts["scope"].startswith("com.anthropic")]
    assert len(sdk) == len(model)
    assert all(above(spans, span)[0] == "llmos.model_call" for span in sdk)
    assert all(span.facts["gen_ai.usage.output_tokens"] > 0 for span in sdk)
    tool = next(span for span in spans if span.name == "execute_tool Write")
    assert "llmos.think" in above(spans, tool)
    assert tool.facts["gen_ai.operation.name"] == "execute_tool"
    assert tool.facts["llmos.ok"] is True


def test_a_replay_hands_its_context_on_and_nothing_that_was_said_is_told(system, llmos, seen):
    goal_id = submit(system, seen, GOAL, "told")
    outcome = llmos.get(goal_id).result(TIMEOUT)
    assert outcome.mode == "FOLLOWER"
    spans = spans_of(seen, goal_id, "llmos.replay", "execute_tool Write")
    replay, tool = one(spans, "llmos.replay"), one(spans, "execute_tool Write")
    assert above(spans, tool) == ["llmos.replay", "llmos.goal", "llmos.submit"]
    assert replay.facts["llmos.mode"] == "FOLLOWER"
    assert replay.facts["llmos.cost_microdollars"] == 0
    assert not {"llmos.model_call"} & {span.name for span in spans}
    # Only the workers know this one as a secret.
    refused = llmos.submit(f"Write {CANARY} into a file", project="told")
    assert not refused.result(TIMEOUT).ok
    spans_of(seen, refused.id, "llmos.goal")
    for said in (GOAL, "calculator", CANARY, "def add"):
        assert said.encode() not in seen.raw, said
    assert CANARY not in "".join(log.read_text() for log in system.stack.log_folder.iterdir())


@pytest.mark.slow
def test_a_goal_whose_worker_was_killed_goes_on_in_its_trace(system, llmos, seen):
    system.rehearsal.faults.next("hold")
    goal_id = submit(system, seen, GOAL, "killed")
    reservations = llmos.token_economy.reservations
    wait_until(lambda: any(r.state == "sent" for r in reservations()), TIMEOUT, "a model is asked")
    (pid,) = [pid for name, pid in system.stack.workers.items() if name.startswith("llm")]
    os.kill(pid, signal.SIGKILL)
    assert llmos.get(goal_id).result(TIMEOUT).ok
    system.rehearsal.faults.release()
    spans = spans_of(seen, goal_id, "llmos.think")
    assert len({span.trace_id for span in spans}) == 1
    think = one(spans, "llmos.think")
    assert above(spans, think)[-1] == "llmos.submit"
    assert think.facts["llmos.run"] == "2"


def test_each_line_inside_of_a_goal_names_it_its_run_and_its_trace(system, llmos, seen):
    system.rehearsal.faults.next("overloaded")
    handle = llmos.submit(GOAL, project="logged")
    assert handle.result(TIMEOUT).ok

    def lines(role: str) -> list[dict]:
        text = (system.stack.log_folder / f"{role}.log").read_text()
        told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in told if line.get("goal_id") == handle.id]

    wait_until(lambda: any("succeeded" in x["message"] for x in lines("llm")), TIMEOUT, "logged")
    assert "received" in lines("dispatch")[0]["message"]
    retried = next(line for line in lines("llm") if "attempt 1" in line["message"])
    assert retried["level"] == "INFO"
    assert (retried["mode"], retried["run"], retried["project"]) == ("LEARNER", "1", "logged")
    assert retried["task"] == "llmos.think"
    assert retried["worker"].startswith("llm-")
    attempts = [s for s in spans_of(seen, handle.id, "llmos.think") if "model_call" in s.name]
    assert {span.trace_id for span in attempts} == {retried["trace_id"]}
    assert "Overloaded" in {span.facts.get("error.type") for span in attempts if span.failed}


@pytest.mark.slow
def test_the_parts_of_a_plan_lie_in_its_trace(system, llmos, seen):
    goal = "Write a haiku about rain into rain.md; copy rain.md to wet.md; copy wet.md to end.md"
    handle = llmos.submit(goal, project="planned", mode="orchestrator")
    assert handle.result(TIMEOUT).ok
    parts = [raw.decode() for raw in llmos.redis.hkeys(keys.goal_members(handle.id))]
    assert parts
    for part in parts:
        spans = spans_of(seen, part, "llmos.orchestrate", "llmos.goal")
        assert len({span.trace_id for span in spans}) == 1
        mine = [s for s in spans if s.facts.get("llmos.goal.id") == part and s.name == "llmos.goal"]
        assert mine
        assert all("llmos.orchestrate" in above(spans, span) for span in mine)
    # Its submitter traces nothing: the first hop's context holds for those after the wait.
    assert len({span.trace_id for span in seen.of(handle.id)}) == 1
    hops = [s for s in seen.of(handle.id) if s.facts.get("llmos.goal.id") == handle.id]
    assert len([span for span in hops if span.name == "llmos.orchestrate"]) > 1
