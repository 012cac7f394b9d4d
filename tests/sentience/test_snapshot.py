"""sentience.json: written for people, read back when Redis lost the state, never trusted."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.state import TriggerType
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.sentience.manager import SentienceManager
from llmos_workers.sentience.snapshot import MAX_BYTES, read_snapshot


@pytest.fixture
def manager(state: redis.Redis) -> SentienceManager:
    return SentienceManager(state, SystemClock(), SentienceConfig())


def test_a_snapshot_brings_the_state_back_after_redis_lost_it(
    manager: SentienceManager, state: redis.Redis, tmp_path: Path
) -> None:
    for _ in range(4):
        told = manager.trigger(TriggerType.SAFETY_VIOLATION, "four of them", project="p")
    manager.snapshot("p", tmp_path / "state" / "sentience.json")
    data = json.loads((tmp_path / "state" / "sentience.json").read_text())
    assert set(data) == {
        "valence",
        "latent_mode",
        "last_trigger",
        "last_trigger_reason",
        "update_count",
        "last_updated",
    }
    state.flushall()
    assert manager.load("p", tmp_path / "state" / "sentience.json")
    back = manager.get_state("p")
    assert back.update_count == 4
    assert back.last_trigger_reason == "four of them"
    assert back.valence.safety == pytest.approx(told.valence.safety, abs=0.01)
    assert manager.trigger(TriggerType.TASK_SUCCESS, project="p").update_count == 5


def test_what_redis_knows_beats_the_snapshot(manager: SentienceManager, tmp_path: Path) -> None:
    path = tmp_path / "sentience.json"
    manager.snapshot("p", path)
    manager.trigger(TriggerType.TASK_FAILURE, project="p")
    assert not manager.load("p", path)
    assert manager.get_state("p").update_count == 1


GOOD: dict[str, Any] = {
    "valence": {"safety": 0.1, "curiosity": 0, "energy": 0.2, "self_confidence": 0.3},
    "latent_mode": "balanced",
    "update_count": 3,
    "last_updated": "2026-11-20T10:00:00Z",
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        json.dumps(GOOD)[:60],
        "null",
        "[]",
        "[" * 9_000,
        '{"valence": {"safety": NaN, "curiosity": 0, "energy": 0, "self_confidence": 0}}',
        '{"valence": {"safety": 1e999}}',
        json.dumps(GOOD | {"valence": {"safety": 7}}),
        json.dumps(GOOD | {"valence": {"anger": 0.5}}),
        json.dumps(GOOD | {"update_count": -1}),
        json.dumps(GOOD | {"update_count": 10**400}),
        json.dumps(GOOD | {"last_trigger": "x" * 5_000}),
        json.dumps(GOOD | {"padding": "x" * MAX_BYTES}),
        "\x00\xff",
    ],
)
def test_a_torn_or_hostile_snapshot_is_ignored_with_a_warning(
    manager: SentienceManager, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    path = tmp_path / "sentience.json"
    path.write_bytes(text.encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert not manager.load("p", path)
    assert f"state snapshot {path} is ignored" in caplog.text
    assert manager.get_state("p").update_count == 0


def test_links_pipes_and_folders_are_not_read(manager: SentienceManager, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text(json.dumps(GOOD))
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("link.json", "pipe.json", "folder.json", "gone.json"):
        assert not manager.load("p", tmp_path / name)


@pytest.mark.parametrize("time", ["9999-01-01T00:00:00Z", "yesterday", "", "0001-01-01T00:00:00"])
def test_a_strange_time_is_no_trap(manager: SentienceManager, tmp_path: Path, time: str) -> None:
    path = tmp_path / "sentience.json"
    path.write_text(json.dumps(GOOD | {"last_updated": time}))
    assert manager.load("p", path)
    assert manager.get_state("p").valence.safety <= 0.5
    assert manager.trigger(TriggerType.TASK_SUCCESS, project="p").update_count == 4


def test_the_stored_latent_mode_is_not_believed(manager: SentienceManager, tmp_path: Path) -> None:
    path = tmp_path / "sentience.json"
    path.write_text(json.dumps(GOOD | {"latent_mode": "recovery"}))
    assert manager.load("p", path)
    assert manager.get_state("p").latent_mode == "balanced"


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(data)
    read_snapshot(path)
