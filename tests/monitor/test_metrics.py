"""``llmos metrics``: what Prometheus reads is what the system says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from llmos_workers.contracts.audits import AuditCounts
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.learning.posterior import upper_bound
from llmos_workers.monitor.exposition import SystemCollector
from tests.conftest import free_port


def scrape(client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(SystemCollector(client))
    return read(generate_latest(registry).decode())


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    found = {(s.name, frozenset(s.labels.items())): s.value for s in samples}
    assert len(found) == len(samples), "no sample twice"
    return found


def sample(found, name: str, **labels: str) -> float:
    return found[f"llmos_{name}", frozenset(labels.items())]


def test_a_system_that_did_nothing_has_figures(client):
    found = scrape(client)
    assert sample(found, "up") == 1
    assert sample(found, "budget_left_microdollars", scope="global", window="lifetime") == 10**7
    assert sample(found, "wrong_replay_bound_ratio") == 1
    assert sample(found, "backlog", queue="llm", part="queued") == 0
    assert (
        sample(found, "self_healing_total", what="recovery.dead") == 0
    )  # the first is an increase


def test_goals_money_state_and_recoveries_are_told(client, end, charge):
    learned = end(duration_s=3.0)
    end(Mode.FOLLOWER, trace_id="t", confidence=0.97, duration_s=0.2)
    spent = charge(learned.goal_id)
    client.submit("one that waits")
    client.redis.hset(keys.COUNTERS, "recovery.died", 3)
    client.redis.hset(keys.AUDIT_COUNTS, mapping={"agreed": 300, "disagreed": 1})
    found = scrape(client)
    assert sample(found, "goals_ended_total", mode="FOLLOWER", status="SUCCEEDED") == 1
    assert sample(found, "goals", state="ACCEPTED") == 1
    model = client.config.sdk.model
    assert sum(v for (n, _), v in found.items() if n == "llmos_cost_microdollars_total") == spent
    assert sample(found, "tokens_total", model=model, kind="input") == 1_000
    left = sample(found, "budget_left_microdollars", scope="global", window="lifetime")
    assert left == 10**7 - spent
    assert sample(found, "valence", project="p", value="safety") == 0.5
    assert sample(found, "self_healing_total", what="recovery.died") == 3
    assert sample(found, "wrong_replay_bound_ratio") == upper_bound(1, 301)
    assert sample(found, "audits_total", agreement="agreed") == AuditCounts(agreed=300).agreed
    assert sample(found, "goal_duration_seconds_count", mode="LEARNER") == 1
    assert sample(found, "goal_duration_seconds_bucket", mode="LEARNER", le="2.5") == 0
    assert sample(found, "match_confidence_bucket", mode="FOLLOWER", le="0.95") == 0
    assert sample(found, "backlog", queue="dispatch", part="queued") == 3
    assert sample(found, "tool_duration_seconds_count", tool="Write") == 2
    assert sample(found, "tool_duration_seconds_bucket", tool="Write", le="0.005") == 2
    assert sample(found, "tool_failures_total", tool="Write") == 0


def test_without_redis_it_says_so_and_nothing_else(tmp_path):
    from llmos_workers import LLMOS, LLMOSConfig

    gone = {"workspace": tmp_path, "redis": {"url": f"redis://127.0.0.1:{free_port()}"}}
    with LLMOS(LLMOSConfig.from_dict(gone)) as client:
        assert scrape(client) == {("llmos_up", frozenset()): 0.0}


@pytest.mark.process
def test_the_command_serves_until_it_is_told_to_stop(client, end, redis_server, tmp_path):
    end()
    port = free_port()
    command = [sys.executable, "-m", "llmos_cli", "metrics", "--port", str(port)]
    env = os.environ | {"LLMOS_REDIS_URL": redis_server}
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        url = server.stdout.readline().split()[-1]
        assert url == f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        server.terminate()
        server.communicate(timeout=20)
    assert server.returncode == 0
    assert sample(read(text), "goals_ended_total", mode="LEARNER", status="SUCCEEDED") == 1
    assert "write" not in text, "no goal's text in a label"
