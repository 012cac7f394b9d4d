"""What the tests of recovery and waiting share."""

from __future__ import annotations

import json

import redis

from llmos_workers.config import KernelConfig
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.delayed import DelayedGoals
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.recovery import Recovered, Recovery
from tests.kernel.goal_support import a_goal, expire_lease

GRACE = 10.0


class System:
    """State and broker of one server, without any worker."""

    def __init__(self, state: redis.Redis, broker: redis.Redis) -> None:
        self.state, self.broker = state, broker
        self.goals = GoalStore(state, SystemClock())
        self.delayed = DelayedGoals(state, broker, self.goals)
        self.recovery = Recovery(state, broker, KernelConfig(recovery_grace_secs=GRACE))

    def submit(self, number: int = 1, *, age: float = 60, **options) -> list[GoalRecord]:
        """Goals that were queued ``age`` seconds ago."""
        seconds, _ = self.state.time()
        records = [a_goal(f"goal {i}", now=seconds - age, **options) for i in range(number)]
        self.goals.create_many(records)
        wire.publish(self.broker, records)
        return records

    def queued(self, queue: str = "dispatch") -> list[str]:
        """Ids of all messages in the queue's lists."""
        return [
            json.loads(each)["headers"]["id"]
            for name in wire.queue_lists(queue)
            for each in self.broker.lrange(name, 0, -1)
        ]

    def take(self, name: str = "dispatch\x06\x163", *, stamped: float | None = None) -> dict:
        """A worker takes the next message, and does not acknowledge it."""
        message = json.loads(self.broker.rpop(name))
        tag = message["properties"]["delivery_tag"]
        queue = message["properties"]["delivery_info"]["routing_key"]
        at = self.state.time()[0] if stamped is None else stamped
        self.broker.zadd("unacked_index", {tag: at})
        self.broker.hset("unacked", tag, json.dumps([message, "", queue]))
        return message

    def acknowledge(self, message: dict) -> None:
        tag = message["properties"]["delivery_tag"]
        self.broker.zrem("unacked_index", tag)
        self.broker.hdel("unacked", tag)

    def search(self, ticks: int = 40) -> Recovered:
        """Ticks until the search is over, without its pauses; what they did in sum."""
        sums = dict.fromkeys(("died", "lost", "dead", "woken"), 0)
        self.state.delete(keys.RECOVERY_PAUSE)
        for _ in range(ticks):
            for name, value in vars(self.recovery.work()).items():
                sums[name] += value
            if not self.state.hexists(keys.RECOVERY_STATE, "step"):
                break
        else:
            raise AssertionError("the search does not end")
        return Recovered(**sums)

    def run_dies(self, goal_id: str) -> None:
        """A run takes the goal and is never heard of again."""
        self.goals.acquire(goal_id, owner="host:1:1")
        expire_lease(self.state, goal_id)

    def notices(self, goal_id: str) -> list[str]:
        events = self.goals.events(goal_id)
        return [event.data["message"] for event in events if event.kind == "notice"]

    def count(self, name: str) -> int:
        return int(self.state.hget(keys.COUNTERS, name) or 0)

    def in_state(self, state: GoalState) -> list[str]:
        return [each.decode() for each in self.state.zrange(keys.goals_in_state(state), 0, -1)]
