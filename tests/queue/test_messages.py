"""What travels: our codec, plain JSON, goals without Celery, and things that must not pass."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery, chord, group

from llmos_workers.contracts.goal import GoalOptions, GoalRecord
from llmos_workers.kernel import wire
from tests.queue.conftest import Lab
from tests.queue.probe_tasks import echo, hop, join
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


LOUD = re.compile("Can't decode message body|Refusing to deserialize")


FOREIGN = re.compile("dropped .* no message|Reject|reject|KeyError|malformed", re.IGNORECASE)


def raw_message(body: bytes, content_type: str, encoding: str = "binary") -> bytes:
    """A message as anyone with access to Redis could push it."""
    template = GoalRecord(goal_id=str(uuid4()), text="x", created_at=1, updated_at=1)
    message = json.loads(wire.goal_message(template, queue="llm", task="probe.echo")[1])
    message |= {
        "body": base64.b64encode(body).decode(),
        "content-type": content_type,
        "content-encoding": encoding,
    }
    return json.dumps(message).encode()


def test_values_of_our_codec_reach_the_task(lab: Lab) -> None:
    """Among them int keys, with which kombu's own msgpack loses the task."""
    lab.worker("llm")
    value: dict[Any, Any] = {
        1: Decimal("1.10"), "id": UUID(int=5), "when": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    assert lab.send("probe.echo", value, queue="llm").get(timeout=60) == repr(value)


def test_a_plain_app_speaks_json_both_ways(lab: Lab) -> None:
    lab.worker("dispatch")
    plain = Celery("plain", broker=f"{lab.server.url}/0", backend=f"{lab.server.url}/1")
    result = plain.send_task("probe.echo", kwargs={"value": {"a": [1]}}, queue="dispatch")
    assert result.get(timeout=60) == "{'a': [1]}"
    # close() leaves what get() listened on to the garbage collector, in somebody else's test.
    plain.backend.result_consumer.stop()
    plain.backend.client.close()
    plain.close()


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_a_goal_published_without_celery_is_taken_by_a_worker(lab: Lab, priority: int) -> None:
    """Under its own id, from the list of its priority."""
    lab.worker("dispatch")
    goal = GoalRecord(
        goal_id=str(uuid4()), text="Write a haiku", options=GoalOptions(priority=priority),
        created_at=1, updated_at=1, traceparent="00-abc-def-01",
    )  # fmt: skip
    name, payload = wire.goal_message(goal, task="probe.goal")
    lab.broker.lpush(name, payload)
    seen = lab.app.AsyncResult(goal.goal_id).get(timeout=60)
    assert seen["id"] == goal.goal_id
    assert seen["kwargs"] == {"v": 1, "stored": True}
    assert seen["traceparent"] == "00-abc-def-01"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x01 this is no zstd frame", "application/x-llmos-msgpack"),
        (b"\x00\xc1", "application/x-llmos-msgpack"),
        (b"{not json", "application/json"),
        (b"anything", "application/x-unknown"),
    ],
    ids=["zstd", "msgpack", "json", "unknown"],
)
def test_an_undecodable_message_is_dropped_loudly(lab: Lab, body: bytes, content_type: str) -> None:
    """It is named in the log, it does not come back, and the next task runs."""
    worker = lab.worker("llm")
    encoding = "utf-8" if content_type.endswith("json") else "binary"
    lab.broker.lpush("llm", raw_message(body, content_type, encoding))
    assert lab.send("probe.echo", 1, queue="llm").get(timeout=60) == "1"
    wait_until(lambda: LOUD.search(worker.log.read_text()), what="the log says so")
    wait_until(lambda: lab.unacked() == 0, what="it was acknowledged")


class Exploit:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_and_never_loaded(lab: Lab, tmp_path: Path) -> None:
    worker = lab.worker("llm")
    trap = tmp_path / "executed"
    body = pickle.dumps(([Exploit(trap)], {}, {}))
    lab.broker.lpush("llm", raw_message(body, "application/x-python-serialize"))
    assert lab.send("probe.echo", 1, queue="llm").get(timeout=60) == "1"
    assert not trap.exists()
    assert wait_until(lambda: "Refusing to deserialize" in worker.log.read_text())


def test_a_chord_joins(lab: Lab) -> None:
    """Members on two queues, the body on a third."""
    for role in ("dispatch", "llm"):
        lab.worker(role, 4)
    members = group(echo.s(n).set(queue=("llm", "dispatch")[n % 2]) for n in range(10))
    result = chord(members, app=lab.app)(join.s().set(queue="llm"))
    assert sorted(result.get(timeout=60)) == sorted(repr(n) for n in range(10))


def test_a_goal_s_id_is_its_task_id_through_every_hop(lab: Lab) -> None:
    """Task.replace across queues; the sender's result is that of the last hop."""
    for role in ("dispatch", "llm", "replay"):
        lab.worker(role)
    result = lab.send("probe.hop", ["llm", "replay", "dispatch"], queue="dispatch")
    trail = result.get(timeout=60)
    assert [role for role, _ in trail] == ["dispatch", "llm", "replay", "dispatch"]
    assert {task_id for _, task_id in trail} == {result.id}


def test_a_hop_keeps_priority_and_what_people_see(lab: Lab) -> None:
    """Flower shows goal and short text on every queue, and no secret on any."""
    lab.worker("dispatch")
    goal = GoalRecord(
        goal_id=str(uuid4()), text="Rotate the key api_key=hunter2xyz now",
        options=GoalOptions(priority=3), created_at=1, updated_at=1,
    )  # fmt: skip
    name, payload = wire.goal_message(goal, task="probe.hop_away")
    lab.broker.lpush(name, payload)
    waiting = wire.list_name("llm", 3)
    wait_until(lambda: lab.broker.llen(waiting), what="the next hop waits at its priority")
    hop_message = lab.broker.lindex(waiting, 0)
    assert isinstance(hop_message, bytes)
    shown = json.loads(hop_message)["headers"]["argsrepr"]
    assert shown == f"({goal.goal_id}: Rotate the key api_key=[redacted] now)"


def test_members_that_hop_still_join_their_chord(lab: Lab) -> None:
    for role in ("dispatch", "llm"):
        lab.worker(role, 4)
    members = [
        hop.s(["llm", "dispatch", "llm"][: n % 4]).set(queue="dispatch", task_id=f"m{n}")
        for n in range(8)
    ]
    trails = chord(members, app=lab.app)(join.s().set(queue="dispatch")).get(timeout=60)
    assert [{task_id for _, task_id in trail} for trail in trails] == [{f"m{n}"} for n in range(8)]
    assert [len(trail) for trail in trails] == [n % 4 + 1 for n in range(8)]


def test_a_heartbeat_file_is_touched_while_the_worker_lives(lab: Lab, tmp_path: Path) -> None:
    beat = tmp_path / "alive"
    lab.worker("upkeep", LLMOS_HEARTBEAT_FILE=str(beat))
    first = beat.stat().st_mtime_ns
    wait_until(lambda: beat.stat().st_mtime_ns > first, what="the next beat")


def test_an_unknown_role_is_refused_with_the_known_ones(lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmos_workers.worker", "--role", "nonsense"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "dispatch" in done.stderr


@pytest.mark.parametrize("noise", [b"garbage", b"[]", b"{}", b'{"body": 1}', b"\xff\xfe"])
def test_what_is_no_message_at_all_does_not_end_the_worker(lab: Lab, noise: bytes) -> None:
    worker = lab.worker("llm")
    pid = worker.pid
    lab.broker.lpush("llm", noise)
    assert lab.send("probe.echo", 1, queue="llm").get(timeout=60) == "1"
    assert worker.pid == pid
    wait_until(lambda: FOREIGN.search(worker.log.read_text()), what="the log says so")
