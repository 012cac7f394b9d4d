"""Secrets come out nowhere: neither the workers' own nor those of a project's files.

Looked through after the runs: all of Redis, all that the model's endpoint was sent, all events that
Flower gets, and every file of the workspace but those that hold the project's own secrets.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from llmos_workers.app import make_app
from llmos_workers.client import LLMOS
from llmos_workers.client_handle import GoalHandle
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import InvalidGoal
from llmos_workers.contracts.modes import Mode
from llmos_workers.embedded.local import LocalSystem
from tests.support.script import Script, calls, says, text, use
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 60
OF_WORKERS = "canary-7f3e91d2c4b8a650"
IN_ENV_FILE = "canary-dotenv-9b1e44"
IN_CONFIG = "canaryconfigword"
IN_KEY_FILE = "Q2FuYXJ5S2V5RmlsZUxpbmUwMDAx"
PRINTED = "canary-printed-5d2c91"
IN_GOAL = "canary-goal-0c77aa12"
HELD = (OF_WORKERS, IN_ENV_FILE, IN_CONFIG, IN_KEY_FILE, PRINTED)
"""In files of the project."""

GOAL = "Find out which service the project talks to"
FILES = {
    ".env": f"SERVICE_PASSWORD={IN_ENV_FILE}\nHOST=example.org\n",
    "config.json": f'{{"service": {{"token": "{IN_CONFIG}", "host": "example.org"}}}}\n',
    "notes.txt": f"The service wants {OF_WORKERS} today.\n",
    "service.pem": f"-----BEGIN PRIVATE KEY-----\n{IN_KEY_FILE}\n-----END PRIVATE KEY-----\n",
    "talk.sh": f'. ./.env; echo "logged in with $SERVICE_PASSWORD"; echo session_token={PRINTED}\n',
}
OPEN_GOAL = "Find out what the service of config.json wants"
OPEN = (
    calls(use("Read", 1, path="config.json"), use("Read", 2, path="notes.txt")),
    calls(use("Bash", 3, command="grep -o 'canary[a-z]*' config.json; cat notes.txt")),
    says(text("A token.")),
)
TURNS = (
    calls(use("Read", 1, path=".env"), use("Read", 2, path="config.json")),
    calls(use("Read", 3, path="notes.txt"), use("Grep", 4, pattern="token|PASS|Q2|wants")),
    calls(use("Bash", 5, command="sh talk.sh; tail -n 2 service.pem; env")),
    calls(use("Bash", 6, command="grep -o 'canary[a-z]*' config.json; cut -d= -f2 .env")),
    calls(use("Bash", 7, command="echo «secret:SERVICE_PASSWORD» > leaked.txt")),
    calls(use("Write", 8, path="summary.md", content="It talks to example.org.\n")),
    says(text("It talks to example.org.")),
)


def spellings(secret: str) -> list[bytes]:
    """As it is, and as it looks inside of something in base64."""
    plain = secret.encode()
    cores = [base64.b64encode(b"x" * n + plain)[4 * (n > 0) + 2 * (n > 0) : -4] for n in range(3)]
    return [plain, *cores]


def everything(client: redis.Redis) -> bytes:
    """All keys of a database with what they hold."""
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    kinds = [(key, client.type(key)) for key in client.scan_iter()]
    # Some keys expire while this looks.
    held = [(key, readers[kind](key)) for key, kind in kinds if kind != b"none"]
    return repr(held).encode()


@contextmanager
def flower(app: Celery) -> Iterator[list[dict[str, Any]]]:
    """The task events, as Flower gets them."""
    seen: list[dict[str, Any]] = []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        listening = threading.Thread(
            target=lambda: receiver.capture(limit=None, timeout=None, wakeup=False), daemon=True
        )
        listening.start()
        try:
            yield seen
        finally:
            receiver.should_stop = True
            listening.join(5)


def say_yes(llmos: LLMOS, goal: GoalHandle) -> str:
    """Confirm what is asked until the goal is over; what was shown."""
    shown: list[str] = []

    def over() -> bool:
        for request in llmos.approvals():
            shown.append(repr(request))
            llmos.approve(request.approval_id)
        return goal.status().final

    wait_until(over, TIMEOUT, what="the goal is over")
    return " ".join(shown)


def kinds(seen: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in seen]


def test_no_secret_is_in_any_record_log_trace_event_or_request(tmp_path: Path) -> None:
    config = LLMOSConfig.from_dict({"workspace": tmp_path / "workspace"})
    env = {"CANARY_TOKEN": OF_WORKERS}
    with LocalSystem(config, env=env) as system, LLMOS(system.config) as llmos:
        model = Script(*TURNS)
        assert system.rehearsal is not None
        system.rehearsal.brain = model
        output = config.workspace / "projects" / "demo" / "output"
        output.mkdir(parents=True)
        for name, content in FILES.items():
            (output / name).write_text(content)
        app = make_app(system.config)
        with flower(app) as seen:
            asked = llmos.submit(GOAL, project="demo")
            shown = say_yes(llmos, asked)
            model.replies = list(OPEN)
            outcomes = [llmos.submit(OPEN_GOAL, project="demo").result(TIMEOUT) for _ in range(2)]
            outcomes.append(asked.result(TIMEOUT))
            assert [each.status for each in outcomes] == ["SUCCEEDED"] * 3
            assert outcomes[1].mode is Mode.FOLLOWER
            with pytest.raises(InvalidGoal, match="SERVICE_KEY"):
                llmos.submit(f"Log in with SERVICE_KEY={IN_GOAL}")
            # Only the workers know this one for what it is.
            refused = llmos.submit(f"Log in with {OF_WORKERS}", project="demo").result(TIMEOUT)
            plain = app.send_task(
                "llmos.goal", kwargs={"goal": f"Log in, the token is {IN_GOAL}"}, queue="dispatch"
            ).get(timeout=TIMEOUT)
            assert (refused.status, plain["status"]) == ("REJECTED", "REJECTED")
            wait_until(lambda: kinds(seen).count("task-succeeded") >= 4, what="the events are in")
        assert not (output / "leaked.txt").exists()
        told = str(model.requests)
        assert "«secret:SERVICE_PASSWORD»" in told
        assert "«secret:token»" in told
        dumps = []
        for number in range(3):
            with redis.Redis.from_url(f"{system.config.redis.url}/{number}") as client:
                dumps.append(everything(client))
        words = (
            " ".join(each.model_dump_json() for each in (*outcomes, refused)) + f"{plain}{shown}"
        )
        for secret in (*HELD, IN_GOAL):
            for spelling in spellings(secret):
                assert spelling not in told.encode(), spelling
                assert spelling not in words.encode(), spelling
                assert spelling not in str(seen).encode(), spelling
                assert not [n for n, dump in enumerate(dumps) if spelling in dump], spelling
    holding = {
        (path.relative_to(tmp_path).as_posix(), secret)
        for path in tmp_path.rglob("*")
        if path.is_file()
        for secret in (*HELD, IN_GOAL)
        # The server's own file keeps what was sent, until it is written anew.
        if secret.encode() in path.read_bytes() and ".aof" not in path.name
    }
    own = {
        (f"workspace/projects/demo/output/{n}", s) for n, c in FILES.items() for s in HELD if s in c
    }
    assert holding == own
