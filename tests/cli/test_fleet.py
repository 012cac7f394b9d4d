"""up, worker, flower: what they refuse, what they hand on, and the real stack once."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial

import pytest
import redis

from llmos_cli import fleet
from llmos_cli.main import main
from llmos_workers.app import make_app
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import ConfigError
from llmos_workers.embedded import discovery
from llmos_workers.kernel.workers import live_workers
from llmos_workers.worker import worker_command
from tests.conftest import free_port
from tests.support import browser
from tests.support.wait import wait_until

CANARY = "hunter2-canary-41c7"


def test_up_refuses_where_a_server_is_configured(run):
    ran = run("up")
    assert ran.code == 2
    assert "llmos worker" in ran.err


def test_up_refuses_a_second_stack_on_one_workspace(bare_run, tmp_path):
    started = discovery.process_started(os.getpid())
    running = discovery.Runtime("redis://127.0.0.1:1", os.getpid(), started)
    discovery.write(tmp_path / "workspace", running)
    ran = bare_run("up")
    assert ran.code == 6
    assert "is up already" in ran.err


def test_up_on_a_workspace_that_cannot_be_written_says_so(bare_run, tmp_path):
    (tmp_path / "file").write_text("x")
    ran = bare_run("--workspace", "file/inside", "up")
    assert ran.code == 6
    assert "cannot be written" in ran.err
    assert "--workspace" in ran.err


@pytest.mark.parametrize("pair", ["llm=0", "llm=x", "llm", "nothing=2"])
def test_up_refuses_concurrency_that_is_none(bare_run, pair):
    assert bare_run("up", "--concurrency", pair).code == 2


def test_an_unknown_role_is_refused_with_the_known_ones(bare_run):
    ran = bare_run("worker", "cook")
    assert ran.code == 2
    assert "dispatch" in ran.err
    assert bare_run("worker", "llm", "--concurrency", "0").code == 2


def test_a_worker_gets_the_global_options(bare_run, monkeypatch, tmp_path):
    became = {}
    monkeypatch.setattr(
        "llmos_workers.worker.exec_worker",
        lambda role, concurrency, log_level: became.update(os.environ, role=role),
    )
    for name in ("LLMOS_WORKSPACE", "LLMOS_REDIS_URL", "LLMOS_PRESET"):
        monkeypatch.setenv(name, "")  # undone after the test
    options = ["--redis-url", "redis://127.0.0.1:1", "--workspace", "w", "--preset", "testing"]
    assert bare_run(*options, "worker", "llm").code == 0
    assert became["role"] == "llm"
    assert became["LLMOS_REDIS_URL"] == "redis://127.0.0.1:1"
    assert became["LLMOS_WORKSPACE"] == str(tmp_path / "w")
    assert became["LLMOS_PRESET"] == "testing"


def test_flower_makes_a_password_once_and_stays_on_this_machine():
    env: dict[str, str] = {}
    password = fleet.flower_environment(env)
    assert env["FLOWER_BASIC_AUTH"] == f"llmos:{password}"
    assert env["FLOWER_ADDRESS"] == "127.0.0.1"
    assert env["FLOWER_READ_ONLY"] == "true"
    assert len(password) >= 16
    given = {"FLOWER_BASIC_AUTH": "me:mine", "FLOWER_PORT": "9"}
    assert fleet.flower_environment(given) is None
    assert (given["FLOWER_BASIC_AUTH"], given["FLOWER_PORT"]) == ("me:mine", "9")


def test_flower_takes_its_login_from_a_file(tmp_path):
    (tmp_path / "login").write_text("me:mine\n")
    env = {"FLOWER_BASIC_AUTH_FILE": str(tmp_path / "login")}
    assert fleet.flower_environment(env) is None
    assert env["FLOWER_BASIC_AUTH"] == "me:mine"
    (tmp_path / "login").write_text("nothing")
    for path in (tmp_path / "login", tmp_path / "none"):
        with pytest.raises(ConfigError, match="FLOWER_BASIC_AUTH_FILE"):
            fleet.flower_environment({"FLOWER_BASIC_AUTH_FILE": str(path)})


@pytest.mark.process
def test_flower_beside_a_live_fleet_shows_names_and_states_to_who_may_look(
    worker_of_ours, redis_server, state, tmp_path
):
    port, app = free_port(), make_app(worker_of_ours)
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLOWER_")}
    command = [sys.executable, "-m", "llmos_cli", "--redis-url", redis_server, "flower",
               "--port", str(port)]  # fmt: skip
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = process.stdout.readline().split()[-1]
        password = process.stdout.readline().split()[-1]
        wait_until(lambda: answer(url, None) == 401, timeout=30, what="Flower asks for a password")
        login = f"llmos:{password}"
        assert answer(url, login) == 200
        assert password not in " ".join(process.args)
        for page in ("tasks", "workers", "api/tasks", "api/workers", "broker", "task/x"):
            assert answer(f"{url}/{page}", None) == 401, page
            assert answer(f"{url}/{page}", "llmos:wrong") == 401, page
        assert post(f"{url}/api/task/async-apply/llmos.goal", None) == 401
        for change in ("task/async-apply/llmos.goal", "worker/shutdown/x", "task/revoke/x"):
            assert post(f"{url}/api/{change}", login) == 403, change
        sent = app.send_task(
            "llmos.goal", kwargs={"goal": f"Log in with password={CANARY} now"}, queue="dispatch"
        )
        wait_until(sent.ready, timeout=60, what="the goal has ended")

        def listed() -> dict:
            return json.loads(page_of(f"{url}/api/tasks", login)).get(sent.id, {})

        wait_until(lambda: listed().get("state") == "SUCCESS", timeout=30, what="Flower knows it")
        assert listed()["name"] == "llmos.goal"
        assert sent.id in listed()["args"]
        assert CANARY not in page_of(f"{url}/api/tasks", login)
        there = url.replace("//", f"//{login}@")

        def row_of(words: str, page: str) -> list[str]:
            found = (row for row in browser.rows(page) if words in "".join(row[:2]))
            return next(found, [])

        tasks, row = browser.look_for(
            partial(row_of, sent.id), f"{there}/tasks", folder=tmp_path
        )  # fmt: skip
        assert (row[0], row[2]) == ("llmos.goal", "SUCCESS")
        worker = live_workers(state)[0]["worker"]
        workers, row = browser.look_for(
            partial(row_of, worker), f"{there}/workers", folder=tmp_path
        )  # fmt: skip
        assert row[:2] == [worker, "Online"]
        detail = page_of(f"{url}/task/{sent.id}", login)
        assert "llmos.goal" in detail
        assert sent.id in detail
        assert CANARY not in tasks + workers + detail
        assert not {"Shut Down", "Restart Pool"} & set(re.findall(r">\s*([^<>]+?)\s*<", workers))
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def worker_of_ours(redis_server, state, tmp_path):
    """A real dispatch worker; the settings it has."""
    env = os.environ | {"LLMOS_REDIS_URL": redis_server, "LLMOS_WORKSPACE": str(tmp_path / "w")}
    command = worker_command("dispatch", 1)
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        wait_until(lambda: live_workers(state), timeout=60, what="the worker beats")
        yield LLMOSConfig.from_dict({"workspace": tmp_path / "w", "redis": {"url": redis_server}})
        worker.terminate()


def page_of(url: str, login: str) -> str:
    with urllib.request.urlopen(asking(url, login), timeout=10) as got:
        return got.read().decode()


def post(url: str, login: str | None) -> int:
    return answer(url, login, data=b"{}")


def asking(url: str, login: str | None, data: bytes | None = None) -> urllib.request.Request:
    asked = urllib.request.Request(url, data=data)
    if login:
        asked.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    return asked


def answer(url: str, login: str | None, data: bytes | None = None) -> int:
    asked = asking(url, login, data)
    try:
        with urllib.request.urlopen(asked, timeout=5) as got:
            return got.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.process
def test_up_shows_what_runs_serves_the_client_and_stops_all(tmp_path):
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "LLMOS_REDIS_URL")
    env = {k: v for k, v in os.environ.items() if k not in names}
    llmos = [sys.executable, "-m", "llmos_cli"]
    process = subprocess.Popen(
        [*llmos, "up"], env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        seen = []
        while "Ctrl-C stops" not in (seen[-1] if seen else ""):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            seen.append(line)
        screen = "".join(seen)
        assert "NOT an LLM" in screen
        running = discovery.read(tmp_path / "workspace")
        for worker in running.workers:
            assert worker in screen
        doctor = subprocess.run(
            [*llmos, "doctor"], env=env, cwd=tmp_path, capture_output=True, check=False
        )
        assert b"0 failed" in doctor.stdout, doctor.stdout.decode()
        assert b"rehearsal" in doctor.stdout
        with redis.Redis.from_url(running.redis_url) as client:
            assert client.ping()
        password = running.redis_url.split(":")[2].split("@")[0]
        assert password not in screen
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
    assert process.returncode == 0
    assert discovery.read(tmp_path / "workspace") is None
    for pid in (running.server_pid, *running.workers.values()):
        wait_until(lambda pid=pid: not discovery.process_started(pid), what="all are gone")


def test_flower_without_its_extra_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["flower"]) == 2
    assert "llmos-workers[flower]" in capsys.readouterr().err
