"""The users of Redis: what each role needs it may, and no more. On the real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis
from celery import Celery
from celery.events.receiver import EventReceiver

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.app import make_app
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.kernel.app_seal import app_keys
from llmos_workers.kernel.backup import write_backup
from llmos_workers.kernel.restore import restore_backup
from llmos_workers.kernel.schema import SCHEMA
from llmos_workers.kernel.workers import live_workers
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.migrations import schema_of
from llmos_workers.monitor.figures import look
from llmos_workers.monitor.history import read_ended
from llmos_workers.monitor.tally import Tally
from llmos_workers.rehearsal.server import RehearsalServer
from llmos_workers.worker import worker_command
from tests.support.sealed import a_key, sealed
from tests.support.wait import wait_until

GOAL = "Create a README"


def a_client(guarded, role: str, folder: Path) -> LLMOS:
    url = guarded.urls[role]
    return LLMOS(LLMOSConfig.from_dict({"workspace": folder, "redis": {"url": url}}))


@pytest.fixture
def fleet(guarded, tmp_path) -> Iterator[None]:
    """Real workers under the worker's rights, and the rehearsal model."""
    roles = ("dispatch", "llm", "replay", "upkeep")
    with ExitStack() as parts:
        model = parts.enter_context(RehearsalServer())
        env = os.environ | {
            "LLMOS_REDIS_URL": guarded.urls["worker"], "LLMOS_WORKSPACE": str(tmp_path / "w"),
            "LLMOS_SDK__BASE_URL": model.url, "LLMOS_SDK__API_KEY": "rehearsal",
            "LLMOS_SECURITY__APP_GOALS": "signed",
        }  # fmt: skip
        for role in roles:
            log = parts.enter_context((tmp_path / f"{role}.log").open("wb"))
            worker = subprocess.Popen(
                worker_command(role, 1), env=env, cwd=tmp_path, stdout=log, stderr=log
            )
            parts.callback(worker.wait, 30)
            parts.callback(worker.terminate)
        state = parts.enter_context(a_client(guarded, "observer", tmp_path)).redis
        wait_until(lambda: len(live_workers(state)) == 4, timeout=60, what="all beat")
        yield


def sends_signed_goals(url: str, workspace: Path) -> None:
    """As a plain Celery app."""
    pem, public = a_key()
    app_keys(workspace / "state" / "keys", "default").trust(public)
    with Celery(broker=f"{url}/0", backend=f"{url}/1") as app:
        task_id, kwargs = sealed(pem, {"goal": GOAL})
        sent = app.send_task("llmos.goal", kwargs=kwargs, queue="dispatch", task_id=task_id)
        assert sent.get(timeout=60)["status"] == "SUCCEEDED"
        sent = app.send_task("llmos.goal", kwargs={"goal": GOAL}, queue="dispatch")
        assert sent.get(timeout=60)["status"] == "REJECTED"


@pytest.mark.slow
@pytest.mark.process
def test_each_role_has_the_rights_that_its_work_needs(guarded, fleet, tmp_path):
    """Learned, replayed, cancelled, looked at and watched, and the server refused nothing."""
    guarded.refusals()
    with a_client(guarded, "producer", tmp_path / "w") as producer:
        learned = producer.submit(GOAL).result(60)
        assert (learned.ok, learned.mode) == (True, Mode.LEARNER), learned
        replayed = producer.submit(GOAL, priority=1).result(60)
        assert (replayed.ok, replayed.mode) == (True, Mode.FOLLOWER), replayed
        producer.submit("Another", deadline=None, priority=3).cancel()
        assert producer.list()
    assert guarded.refusals() == []
    sends_signed_goals(guarded.urls["app"], tmp_path / "w")
    assert guarded.refusals() == []
    with a_client(guarded, "observer", tmp_path / "w") as observer:
        assert len(look(observer).workers) == 4
        assert len(read_ended(observer.redis, limit=10)) >= 2
        Tally(observer.redis).update()
    assert guarded.refusals() == []
    config = {"workspace": tmp_path / "w", "redis": {"url": guarded.urls["flower"]}}
    app = make_app(LLMOSConfig.from_dict(config))
    with app.connection() as connection:
        heard: list[str] = []
        watch = EventReceiver(connection, {"*": lambda e: heard.append(e["type"])}, app=app)

        def hears() -> bool:
            with suppress(TimeoutError):
                watch.capture(limit=1, timeout=5)  # one look, not one event
            return bool(heard)

        wait_until(hears, timeout=60, what="an event is heard")
        wait_until(lambda: len(app.control.inspect(timeout=3).ping() or {}) == 4, what="all answer")
    assert guarded.refusals() == []


def test_nobody_without_a_name_may_do_anything(guarded):
    url = guarded.urls["worker"]
    with (
        redis.Redis.from_url(f"redis://{url.rpartition('@')[2]}") as nobody,
        pytest.raises(redis.AuthenticationError),
    ):
        nobody.ping()


FOR_NOBODY = (
    "FLUSHALL", "FLUSHDB", "CONFIG SET dir /tmp", "SHUTDOWN", "DEBUG SLEEP 1", "SAVE", "KEYS *",
    "ACL SETUSER x", "ACL LIST", "MODULE LIST", "REPLICAOF a 1", "SCRIPT FLUSH", "SCRIPT KILL",
    "MONITOR", "CLIENT KILL 1.2.3.4:5", "SWAPDB 0 1", "FUNCTION DELETE x", "GET other",
    "SET other 1", "SUBSCRIBE other", "RESTORE other 0 x", "MIGRATE h 1 k 0 1", "SORT other",
)  # fmt: skip


@pytest.mark.parametrize("command", FOR_NOBODY)
def test_what_no_role_may(guarded, make_secrets, command):
    readers = {"flower"} if command in ("GET other", "SORT other") else set()
    may = {role for role in make_secrets.ROLES if guarded.may(role, *command.split())}
    assert may - readers == set()


def test_every_key_of_ours_has_its_prefix(guarded, make_secrets):
    """So that no role needs a right on the key without a name."""
    assert not [role for role in make_secrets.ROLES if guarded.may(role, "SET", "", "x")]
    assert keys.NO_GOAL.startswith(f"{keys.ROOT}:")
    assert guarded.may("worker", "EVALSHA", "x", "1", keys.NO_GOAL)


SCRIPT = "EVALSHA x 1 llmos:goal:1"
ONLY = {
    SCRIPT: {"worker"},
    "SCRIPT LOAD x": {"app", "worker", "flower"},
    "EVALSHA x 1 _kombu.binding.x": {"worker", "flower"},
    "EVALSHA x 1 _kombu.binding.dispatch": {"app", "worker", "flower"},
    "LPUSH dispatch x": {"app", "producer", "worker"},
    "LPUSH dispatch\x06\x166 x": {"app", "producer", "worker"},
    "LPUSH llm x": {"worker"},
    "LPUSH replay x": {"worker"},
    "HSET unacked a b": {"worker"},
    "SET celery-task-meta-1 x": {"worker"},
    "GET celery-task-meta-1": {"app", "producer", "worker", "flower"},
    "HSET llmos:goal:1 state x": {"producer", "worker"},
    "HGETALL llmos:goal:1": {"producer", "worker", "observer", "flower"},
    "RPOP dispatch": {"producer", "worker"},
    "PUBLISH /0.celery.pidbox x": {"worker", "flower"},
    "LLEN llm": {"worker", "observer", "flower"},
    "SUBSCRIBE celery-task-meta-1": {"app", "producer", "worker"},
}


@pytest.mark.parametrize("command", ONLY)
def test_what_only_some_may(guarded, make_secrets, command):
    may = {role for role in make_secrets.ROLES if guarded.may(role, *command.split(" "))}
    assert may == ONLY[command]


def test_the_server_loses_nothing(guarded):
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    found = {name: guarded.admin.config_get(name)[name] for name in wanted}
    assert found == wanted


def test_secrets_are_made_once_and_redis_holds_none_of_them(tmp_path, make_secrets):
    script = [sys.executable, Path(make_secrets.__file__), tmp_path / "s"]
    env = os.environ | {"ANTHROPIC_API_KEY": "key-1"}
    assert subprocess.run(script, env=env, check=False).returncode == 0
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
    users = (tmp_path / "s" / "users.acl").read_text()
    for role in make_secrets.ROLES:
        config = (tmp_path / "s" / f"{role}.toml").read_text()
        assert config.split(f"llmos-{role}:")[1].split("@")[0] not in users
        assert ("key-1" in config) == (role == "worker")
    before = users
    assert subprocess.run(script, env=env, check=False, stderr=subprocess.DEVNULL).returncode == 1
    assert (tmp_path / "s" / "users.acl").read_text() == before


def test_a_system_is_backed_up_and_restored_with_the_workers_rights(guarded, tmp_path):
    """The rights that docs/backup.md asks for."""
    guarded.refusals()
    file = tmp_path / "all.llmos"
    with a_client(guarded, "worker", tmp_path / "w") as client:
        client.redis.xadd(keys.LEDGER, {"kind": "saved"})
        for beat in client.redis.scan_iter(f"{keys.heartbeat('')}*"):
            client.redis.delete(beat)  # of another test's workers, should one have been killed
        made = write_backup(file, client.redis, tmp_path / "w")
        workspace = Workspace(tmp_path / "other")
        done = restore_backup(file, client.redis, workspace, force=True)
        assert done.keys == made.keys > 0
        schema_of(client.redis, workspace).migrate()
        assert schema_of(client.redis, workspace).state().version == SCHEMA
    assert guarded.refusals() == []
