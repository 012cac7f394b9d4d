"""``llmos top``: one look, for people and for programs."""

from __future__ import annotations

import json

import pytest

from llmos_cli.main import main
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys


@pytest.fixture
def top(client, redis_server, monkeypatch, capsys):
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options: str) -> str:
        assert main(["top", "--once", *options]) == 0
        return capsys.readouterr().out

    return run


def test_one_look_shows_goals_backlog_workers_and_money(client, end, charge, top):
    charge(end().goal_id)
    end(Mode.FOLLOWER)
    client.submit("one that waits")
    beat = {"worker": "llm-1@\x1b[31mhost", "role": "llm", "concurrency": 20, "pid": 7}
    client.redis.set(keys.heartbeat("llm-1"), json.dumps(beat))
    client.redis.hset(keys.COUNTERS, "recovery.died", 2)
    shown = top()
    for words in ("1 ACCEPTED", "dispatch", "llm-1@", "FOLLOWER", "recovery.died 2", "spent $0.00"):
        assert words in shown
    assert "\x1b[31m" not in shown, "a worker's name steers no terminal"
    told = json.loads(top("--json"))
    assert told["states"]["SUCCEEDED"] == 2
    assert told["backlog"][0]["total"] == 3
    assert told["spent_micro"] == client.token_economy.scope("global")["spent"]
    assert told["left_micro"] == 10**7 - told["spent_micro"]


def test_an_empty_system_can_be_looked_at(top):
    assert "goals under way: none" in top()
