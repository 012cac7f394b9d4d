"""``llmos gate``: decisions are listed, and a log that was touched is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from llmos_workers.contracts.gate import GateDecision
from llmos_workers.kernel import keys
from llmos_workers.kernel.gate_files import GateFiles
from llmos_workers.kernel.gate_log import GateLog
from tests.cli.conftest import Run
from tests.kernel.test_gate_log import a_record


@pytest.fixture
def audit(state: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three decisions, two of them filed."""
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    folder, log = tmp_path / "workspace" / "state" / "audit", GateLog(state)
    log.append(a_record(goal_id="g1"))
    log.append(a_record(goal_id="g2", decision=GateDecision.DENY, rule="grant", reason="no\x1b[2J"))
    GateFiles(folder).file_away(log)
    state.xtrim(keys.GATE_LOG, maxlen=0)
    log.append(a_record(goal_id="g1", project="other"))
    return folder


def test_decisions_are_listed_newest_first_from_redis_and_files(run: Run, audit: Path) -> None:
    told = run("gate", "log", "--json").lines
    assert [(one["n"], one["goal_id"], one["decision"]) for one in told] == [
        (3, "g1", "allow"),
        (2, "g2", "deny"),
        (1, "g1", "allow"),
    ]
    assert [one["n"] for one in run("gate", "log", "--goal", "g1", "--json").lines] == [3, 1]
    assert [one["n"] for one in run("gate", "log", "--project", "demo", "--json").lines] == [2, 1]
    denied = run("gate", "log", "--decision", "deny").out
    assert "g2  Write  grant: no" in denied
    assert "\x1b" not in denied
    assert len(run("gate", "log", "--limit", "1").out.splitlines()) == 1


def test_a_log_that_was_touched_is_told(run: Run, audit: Path) -> None:
    told = run("gate", "verify")
    assert (told.code, "the log is whole" in told.out) == (0, True)
    figures = run("gate", "verify", "--json").json
    assert figures["counts"] == {"allow": 2, "deny": 1}
    assert run("gate", "verify", "--head", figures["head"]).code == 0
    assert run("gate", "verify", "--head", "0" * 64).code == 1
    (path,) = audit.glob("gate-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"deny"', b'"ask!"'))
    told = run("gate", "verify")
    assert (told.code, "NOT WHOLE" in told.out) == (1, True)
    assert not run("gate", "verify", "--json").json["whole"]
    path.unlink()
    assert "cut" in run("gate", "verify").out


def test_an_empty_log_is_whole(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    assert run("gate", "log").out == "no decisions.\n"
    assert run("gate", "verify").code == 0
