"""The Celery message of a goal, written with plain Redis commands.

Submitting imports neither Celery nor kombu and runs no script: the message below is what a
Celery producer would have put into the list (task protocol 2, JSON body in base64), so that any
worker takes it. A test holds it against kombu's own, field by field.

Redis lists know no priorities: kombu keeps one list per step and asks them in order. Ours are
three: 1 goes first and shares the list of messages that name no priority.
"""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from llmos_workers.contracts.goal import PAYLOAD_VERSION, GoalRecord
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.shorten import short_text

GOAL_TASK = "llmos.goal"
DISPATCH_QUEUE = "dispatch"

PRIORITY_STEPS = {1: 0, 2: 3, 3: 6}
"""Priority of a goal -> kombu's step; 0 is asked first."""

STEP_SEPARATOR = "\x06\x16"
PERSISTENT = 2


def list_name(queue: str, priority: int) -> str:
    """The Redis list that holds a queue's messages of that priority (1..3)."""
    step = PRIORITY_STEPS[priority]
    return f"{queue}{STEP_SEPARATOR}{step}" if step else queue


def queue_lists(queue: str) -> list[str]:
    """All lists of a queue, also those that only plain Celery apps fill (steps 0, 3, 6, 9)."""
    return [queue, *(f"{queue}{STEP_SEPARATOR}{step}" for step in (3, 6, 9))]


def goal_message(
    record: GoalRecord, *, queue: str = DISPATCH_QUEUE, task: str = GOAL_TASK
) -> tuple[str, bytes]:
    """(list, payload) of the message that makes a worker take up a stored goal.

    Group, chord and callbacks come from the record's envelope, so that a goal which waited
    re-enters as the same task.
    """
    step = PRIORITY_STEPS[record.options.priority]
    message = {
        "body": _body(record),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": _headers(record, task),
        "properties": {
            "correlation_id": record.envelope.correlation_id or record.goal_id,
            "reply_to": record.envelope.reply_to or "",
            "delivery_mode": PERSISTENT,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": step,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    return list_name(queue, record.options.priority), json.dumps(message).encode()


def plain_message(task: str, *, queue: str = DISPATCH_QUEUE) -> bytes:
    """The message of a task without arguments whose result nobody waits for."""
    task_id = str(uuid4())
    message = {
        "body": _encoded([[], {}, dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": f"gen{os.getpid()}@{socket.gethostname()}",
            "ignore_result": True,
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": PERSISTENT,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    return json.dumps(message).encode()


def publish(broker: Client, records: Iterable[GoalRecord], *, queue: str = DISPATCH_QUEUE) -> int:
    """LPUSH the messages of goals whose records are stored, in one pipeline; how many.

    ``broker`` is a client of the broker database. A crash before this leaves ACCEPTED goals
    without a message, which the recovery clock publishes again.
    """
    with broker.pipeline(transaction=False) as pipe:
        for record in records:
            pipe.lpush(*goal_message(record, queue=queue))
        return len(pipe.execute())


def describe(goal_id: str, text: str) -> str:
    """What people see of a goal's arguments: its id and a short text without secrets."""
    return f"({goal_id}: {short_text(text)})"


def _body(record: GoalRecord) -> str:
    envelope = record.envelope
    embed = {
        "callbacks": envelope.callbacks,
        "errbacks": envelope.errbacks,
        "chain": envelope.chain,
        "chord": envelope.chord,
    }
    return _encoded([[], {"v": PAYLOAD_VERSION, "stored": True}, embed])


def _encoded(content: list[Any]) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode("ascii")


def _headers(record: GoalRecord, task: str) -> dict[str, Any]:
    envelope = record.envelope
    ours: dict[str, Any] = {
        "lang": "py",
        "task": task,
        "id": record.goal_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": envelope.group_id,
        "group_index": envelope.group_index,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": envelope.root_id or record.goal_id,
        "parent_id": envelope.parent_id,
        "argsrepr": describe(record.goal_id, record.text),
        "kwargsrepr": "{}",
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    if record.traceparent:
        ours["traceparent"] = record.traceparent
    return envelope.headers | ours
