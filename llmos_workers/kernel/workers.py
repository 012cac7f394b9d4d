"""Who is alive: reading what workers say about themselves with each heartbeat."""

from __future__ import annotations

import json
from typing import Any

from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import Client


def live_workers(state: Client) -> list[dict[str, Any]]:
    """Role, pid, host, queues, pool and times of each worker that beat lately, by name."""
    names = sorted(state.scan_iter(match=keys.heartbeat("*"), count=500))
    values = state.mget(names) if names else []
    return [json.loads(value) for value in values if isinstance(value, bytes)]


def is_served(state: Client, queue: str) -> bool:
    """Whether a worker that takes from ``queue`` beat lately."""
    return any(queue in worker.get("queues", ()) for worker in live_workers(state))
