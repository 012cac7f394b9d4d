"""``llmos top``: one look, for people and for programs."""

from __future__ import annotations

import io
import json
from typing import NamedTuple

import pytest
from rich.console import Console

from llmos_cli.main import main
from llmos_cli.top_view import trouble, view
from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.monitor.figures import look
from llmos_workers.monitor.tally import Tally


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
    for words in ("1 ACCEPTED", "dispatch", "llm-1@", "FOLLOWER", "recovery.died 2", "spent"):
        assert words in shown
    assert "\x1b[31m" not in shown, "a worker's name steers no terminal"
    told = json.loads(top("--json"))
    assert told["states"]["SUCCEEDED"] == 2
    assert told["backlog"][0]["total"] == 3
    assert told["spent_micro"] == client.token_economy.scope("global")["spent"]
    assert told["left_micro"] == 10**7 - told["spent_micro"]


class Size(NamedTuple):
    width: int
    height: int


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 24), (200, 60)])
def test_a_look_fits_the_terminal_and_cuts_no_figure_off(client, end, width, height):
    end()
    end(Mode.FOLLOWER, status="FAILED")
    for number in range(30):
        beat = {"worker": f"llm-{number}@host", "role": "llm", "concurrency": 20, "pid": number}
        client.redis.set(keys.heartbeat(f"llm-{number}"), json.dumps(beat))
    tally = Tally(client.redis)
    tally.update()
    console = Console(width=width, height=height, file=io.StringIO())
    console.print(view(look(client), tally, size=Size(width, height), foot="Ctrl-C ends"))
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= height
    assert lines[-1].startswith("Ctrl-C ends")
    text = "\n".join(lines)
    assert "…" not in text
    for words in ("no audits", "LEARNER", "self-conf.", "replay", "under way: none"):
        assert words in text
    assert ("llm-29@host" in text) is (height == 60)
    assert ("30 llm (600 slots)" in text) is (width == 80)


def test_a_server_that_is_away_is_said_in_the_view():
    console = Console(width=80, file=io.StringIO())
    console.print(trouble(BrokerUnavailable("Redis is gone.", fix="Start it.")))
    assert console.file.getvalue().split("\n")[:2] == ["Redis is gone.", "Start it. Trying on."]


def test_an_empty_system_can_be_looked_at(top):
    assert "goals under way: none" in top()
