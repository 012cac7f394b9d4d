"""What a shell is offered on TAB."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from llmos_cli.main import main
from llmos_cli.offers import MOST
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.cli.conftest import Run
from tests.cli.world import World
from tests.kernel.goal_support import a_goal

Tab = Callable[..., list[str]]


@pytest.fixture
def tab(bare_run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tab:
    """The words offered for a line whose last word, perhaps empty, is being typed."""

    def offered(*words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_LLMOS_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("llmos", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([])
        told = capfd.readouterr()
        assert (ended.value.code, told.err) == (0, "")
        lines = told.out.strip().splitlines()  # click ends even nothing with a newline
        return [line.removeprefix("plain,") for line in lines] if shell == "bash" else lines

    return offered


@pytest.fixture
def world(
    tab: Tab, redis_server: str, state: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    return World(state, tmp_path / "workspace")


def test_ids_and_names_come_from_the_system(tab: Tab, world: World) -> None:
    assert {world.queued, world.ended, world.dead} <= set(tab("status", ""))
    assert tab("status", world.ended[:-1]) == [world.ended]
    cancellable = tab("cancel", "")
    assert world.queued in cancellable
    assert world.ended not in cancellable
    assert set(tab("dead", "retry", "")) == {world.dead, world.poison}
    assert world.queued in tab("budget", "ledger", "--goal", "")
    assert set(tab("approve", "")) == {world.approval, world.denied}
    assert set(tab("schedule", "pause", "")) == {world.schedule, world.spare}
    assert set(tab("traces", "show", "")) == {world.trace, world.other_trace}
    assert tab("traces", "show", "--project", "elsewhere", "") == []
    assert tab("list", "--project", "d") == ["default"]
    assert "researcher" in tab("submit", "--agent", "")
    assert tab("agents", "show", "research") == ["researcher"]


def test_other_shells_are_told_what_an_id_is(tab: Tab, world: World) -> None:
    kind, value, told = tab("status", world.ended, shell="zsh")
    assert (kind, value) == ("plain", world.ended)
    assert told.endswith("Create a haiku")


def test_what_is_offered_is_bounded_and_plain(
    tab: Tab, state: redis.Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids of a plain app's goals are its own, and bash expands what it is offered."""
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    goals, now = GoalStore(state, SystemClock()), SystemClock().now()
    goals.create(a_goal("x", now=now).model_copy(update={"goal_id": "b;reboot"}))
    goals.create(a_goal("x", now=now).model_copy(update={"goal_id": "b$(reboot)"}))
    goals.create(a_goal("x", now=now).model_copy(update={"goal_id": "b-1"}))
    assert tab("status", "b") == ["b-1"]
    goals.create_many([a_goal(f"x{n}", now=now) for n in range(MOST + 5)])
    assert len(tab("status", "")) == MOST


def test_the_options_on_the_line_say_which_system(
    tab: Tab, state: redis.Redis, redis_server: str
) -> None:
    record, _ = GoalStore(state, SystemClock()).create(a_goal("x", now=SystemClock().now()))
    assert tab("--redis-url", redis_server, "status", "") == [record.goal_id]


def test_without_a_server_nothing_is_offered_said_or_made(
    tab: Tab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("LLMOS_REDIS_URL", url)
        assert tab("status", "") == []
        mute.setblocking(False)
        mute.accept()[0].close()
        with pytest.raises(BlockingIOError):
            mute.accept()  # it was tried once
    for line in (["status"], ["approve"], ["traces", "show"], ["schedule", "pause"]):
        assert tab(*line, "") == []
    assert tab("list", "--project", "") == []
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_wrong_are_not_told(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_REDIS_URL", "no url")
    assert tab("status", "") == []


def test_commands_are_offered(tab: Tab) -> None:
    assert tab("sta") == ["status"]
    assert tab("completion", "") == ["bash", "zsh", "fish"]


def test_words_and_files_are_offered_without_a_system(tab: Tab) -> None:
    assert tab("submit", "--mode", "F") == ["follower"]
    assert "waiting_approval" in tab("list", "--state", "")
    assert tab("worker", "") == ["dispatch", "llm", "replay", "upkeep"]
    assert tab("--preset", "p") == ["production"]
    assert tab("why", "no") == tab("--workspace", "no") == ["file,no"]
