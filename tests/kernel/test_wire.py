"""The goal's message without Celery is the message Celery itself would have sent."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
import redis
from celery import Celery

from llmos_workers.contracts.goal import GoalOptions, GoalRecord, TaskEnvelope
from llmos_workers.kernel import wire

GOAL_ID = "0b6a1d52-3b1a-4a07-9c0e-6f1f7a0c2c11"
VARYING = {("properties", "delivery_tag"), ("properties", "reply_to"), ("headers", "origin")}
OURS = {("headers", "argsrepr"), ("headers", "kwargsrepr"), ("headers", "ignore_result")}


def record(priority: int = 2, **fields: Any) -> GoalRecord:
    options = GoalOptions(priority=priority)
    return GoalRecord(
        goal_id=GOAL_ID, text="Write a haiku", options=options, created_at=1, updated_at=1, **fields
    )


def flat(message: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """(part, field) -> value; the body stands under ("body", "")."""
    parts = {
        (part, "") if not isinstance(value, dict) else (part, key): inner
        for part, value in message.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    }
    assert len(parts) > 25
    return parts


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_message_equals_what_kombu_puts_into_the_list(
    redis_server: str, state: redis.Redis, priority: int
) -> None:
    """Same list, same fields, same values, but for tags, origin and what people see."""
    app = Celery("plain", broker=f"{redis_server}/0", backend=f"{redis_server}/1")
    app.send_task(
        "llmos.goal",
        kwargs={"v": 1, "stored": True},
        queue="dispatch",
        task_id=GOAL_ID,
        priority=wire.PRIORITY_STEPS[priority],
    )
    app.close()
    name, payload = wire.goal_message(record(priority))
    with redis.Redis.from_url(f"{redis_server}/0") as broker:
        theirs = broker.rpop(name)
    assert isinstance(theirs, bytes)
    kombus, ours = flat(json.loads(theirs)), flat(json.loads(payload))
    assert ours.keys() == kombus.keys()
    different = {field for field in ours if ours[field] != kombus[field]}
    assert different <= VARYING | OURS


def test_the_list_order_is_the_order_of_priorities() -> None:
    assert [wire.list_name("dispatch", n) for n in (1, 2, 3)] == wire.queue_lists("dispatch")[:3]


def test_publish_fills_the_lists_and_counts(redis_server: str, state: redis.Redis) -> None:
    with redis.Redis.from_url(f"{redis_server}/0") as broker:
        assert wire.publish(broker, [record(1), record(2), record(2)]) == 3
        assert [broker.llen(name) for name in wire.queue_lists("dispatch")] == [1, 2, 0, 0]
        assert wire.publish(broker, []) == 0


def test_chord_membership_of_a_goal_that_waited_is_in_its_message() -> None:
    chord = {"task": "join", "options": {"task_id": "x"}}
    envelope = TaskEnvelope(
        root_id="root", parent_id="parent", group_id="group", group_index=3, chord=chord
    )
    message = json.loads(wire.goal_message(record(envelope=envelope))[1])
    headers = message["headers"]
    assert [headers[k] for k in ("root_id", "parent_id", "group", "group_index", "id")] == [
        "root", "parent", "group", 3, GOAL_ID,
    ]  # fmt: skip
    assert json.loads(base64.b64decode(message["body"]))[2]["chord"] == chord


def test_what_runs_after_a_goal_that_waited_is_in_its_message() -> None:
    after = {name: [{"task": name}] for name in ("callbacks", "errbacks", "chain")}
    envelope = TaskEnvelope(headers={"tenant": "a"}, **after)
    message = json.loads(wire.goal_message(record(envelope=envelope))[1])
    assert json.loads(base64.b64decode(message["body"]))[2] == {**after, "chord": None}
    assert message["headers"]["tenant"] == "a"


def test_kept_headers_do_not_override_the_identity_of_the_goal() -> None:
    envelope = TaskEnvelope(headers={"id": "another", "task": "evil", "traceparent": "old"})
    kept = record(envelope=envelope, traceparent="new")
    headers = json.loads(wire.goal_message(kept)[1])["headers"]
    assert (headers["id"], headers["task"], headers["traceparent"]) == (
        GOAL_ID,
        "llmos.goal",
        "new",
    )


def test_writing_the_message_imports_neither_celery_nor_kombu() -> None:
    script = (
        "import sys, llmos_workers.kernel.wire; "
        "print([m for m in ('celery', 'kombu', 'anthropic', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
