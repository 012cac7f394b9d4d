"""The embedded stack: up when start() returns, alive while it is up, gone when it is over."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_workers.app import make_app
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import InfrastructureError
from llmos_workers.embedded import discovery
from llmos_workers.embedded.discovery import process_started
from llmos_workers.embedded.stack import EmbeddedStack
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from tests.support.wait import wait_until

pytestmark = pytest.mark.process
PROBES = {"LLMOS_TASK_MODULES": "tests.queue.probe_tasks"}


def config(workspace: Path) -> LLMOSConfig:
    return LLMOSConfig.from_dict(
        {"workspace": str(workspace), "redis": {"visibility_timeout_secs": 4}}
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    workspace = tmp_path_factory.mktemp("stack")
    with EmbeddedStack(config(workspace), env=PROBES) as running:
        yield running


def children_gone(pids: list[int]) -> bool:
    return not any(process_started(pid) for pid in pids)


def test_every_role_takes_tasks_when_start_returns(stack: EmbeddedStack) -> None:
    app = make_app(stack.config)
    try:
        for queue in ("dispatch", "llm", "replay", "upkeep"):
            where = app.send_task("probe.where", queue=queue).get(timeout=60)
            assert where["role"] == queue
    finally:
        app.close()


def test_workers_say_what_they_are(stack: EmbeddedStack) -> None:
    with connect(stack.config.redis) as state:
        facts = {worker["role"]: worker for worker in live_workers(state)}
    assert {role: facts[role]["pool"] for role in facts} == {
        "dispatch": "thread", "llm": "thread", "replay": "prefork", "upkeep": "thread",
    }  # fmt: skip
    assert {worker["pid"] for worker in facts.values()} == set(stack.workers.values())
    assert facts["llm"]["concurrency"] == 20


def test_another_shell_finds_it(stack: EmbeddedStack) -> None:
    found = discovery.read(stack.workspace)
    assert found is not None
    assert (found.redis_url, found.pid, found.workers) == (
        stack.redis_url, os.getpid(), stack.workers,
    )  # fmt: skip


def test_files_with_secrets_are_private(stack: EmbeddedStack) -> None:
    files = [*(stack.workspace / "state").glob("*.json"), *stack.log_folder.glob("*.log")]
    files += (stack.workspace / "state").glob(".embedded-config-*")
    assert len(files) >= 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_worker_that_dies_is_started_again(stack: EmbeddedStack) -> None:
    name, pid = next((n, p) for n, p in stack.workers.items() if n.startswith("upkeep"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.workers.get(name, pid) != pid, what="another process has the name")
    app = make_app(stack.config)
    assert app.send_task("probe.where", queue="upkeep").get(timeout=60)["role"] == "upkeep"
    app.close()
    found = wait_until(lambda: discovery.read(stack.workspace), what="the runtime file")
    wait_until(lambda: discovery.read(stack.workspace) != found or found.workers[name] != pid)


def test_the_server_is_started_again_with_its_data(stack: EmbeddedStack) -> None:
    with connect(stack.config.redis) as state:
        state.set("kept", "1")
        pid = stack.server_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: stack.server_pid not in (None, pid), what="another server runs")
        assert state.get("kept") == b"1"
    app = make_app(stack.config)
    assert app.send_task("probe.where", queue="llm").get(timeout=60)["role"] == "llm"
    app.close()


def test_stop_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    stack = EmbeddedStack(config(tmp_path), roles={"llm": 2}, env=PROBES)
    stack.start()
    pids = [*stack.workers.values(), stack.server_pid or 0]
    stack.stop()
    stack.stop()
    assert children_gone(pids)
    assert discovery.read(tmp_path) is None
    assert not list((tmp_path / "state").glob(".embedded-config-*"))


def test_an_exception_inside_the_block_stops_it(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail_inside() -> None:
        with EmbeddedStack(config(tmp_path), roles={"llm": 2}, env=PROBES) as stack:
            pids.extend([*stack.workers.values(), stack.server_pid or 0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert len(pids) == 2
    assert children_gone(pids)


def test_a_worker_that_cannot_start_is_an_error_that_shows_its_log(tmp_path: Path) -> None:
    stack = EmbeddedStack(
        config(tmp_path), roles=["llm"], env={"LLMOS_TASK_MODULES": "no.such.module"}
    )
    with pytest.raises(InfrastructureError, match=r"no\.such|No module"):
        stack.start()
    assert stack.workers == {}
    assert stack.server_pid is None


OWNER = """
import json, sys, time
from pathlib import Path
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.stack import EmbeddedStack

config = LLMOSConfig.from_dict({"workspace": sys.argv[1]})
with EmbeddedStack(config, roles={"llm": 2, "replay": 2}) as stack:
    print(json.dumps([*stack.workers.values(), stack.server_pid]), flush=True)
    stack.wait()
"""


def start_owner(workspace: Path) -> tuple[subprocess.Popen[str], list[int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(workspace)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | PROBES,
    )  # fmt: skip
    assert owner.stdout is not None
    return owner, json.loads(owner.stdout.readline())


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
def test_however_the_owner_ends_no_orphan_stays(tmp_path: Path, signum: signal.Signals) -> None:
    """With prefork children of the replay worker among those that have to go."""
    owner, pids = start_owner(tmp_path)
    everyone = pids + [
        int(child)
        for pid in pids
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    assert len(everyone) == len(pids) + 2
    owner.send_signal(signum)
    owner.communicate(timeout=20)
    wait_until(lambda: children_gone(everyone), what="all of the stack's processes are gone")
    assert discovery.read(tmp_path) is None


def test_a_new_stack_takes_over_the_data_of_one_that_was_killed(tmp_path: Path) -> None:
    owner, _ = start_owner(tmp_path)
    found = discovery.read(tmp_path)
    assert found is not None
    killed = config(tmp_path).redis.model_copy(update={"url": found.redis_url})
    with connect(killed) as state:
        state.set("kept", "1")
    owner.kill()
    owner.communicate()
    with (
        EmbeddedStack(config(tmp_path), roles=[], env=PROBES) as stack,
        connect(stack.config.redis) as state,
    ):
        assert state.get("kept") == b"1"
