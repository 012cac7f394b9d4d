"""Workers that import this die by SIGKILL at chosen moments of a plan, once for each layer.

A layer is told by how many members its parent has had. What died is noted in Redis first, so that
it dies once, and a test can see that it did.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import redis

from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.children import Children
from llmos_workers.kernel.publish import Publisher
from llmos_workers.tasks import fanout

DIED = "test:plan:died"
"""set of ``<moment>:<members so far>``."""


def die_once(client: redis.Redis, moment: str, parent_id: str) -> None:
    """Die here, if nobody has for this layer."""
    layer = client.hlen(keys.goal_members(parent_id))
    if client.sadd(DIED, f"{moment}:{layer}"):
        os.kill(os.getpid(), signal.SIGKILL)


class HalfSent:
    """Stands in for ``wire`` in the fan-out: half of the header is sent, then the worker dies."""

    DISPATCH_QUEUE = wire.DISPATCH_QUEUE
    state: redis.Redis

    @staticmethod
    def publish(broker: redis.Redis, records: list[Any]) -> int:
        sent = wire.publish(broker, records[: len(records) // 2])
        if records:
            die_once(HalfSent.state, "header", records[0].options.member.parent_id)
        return sent + wire.publish(broker, records[len(records) // 2 :])


def remembered(adopt: Any) -> Any:
    """Adopting comes before sending, and knows the state database."""

    def adopts(self: Children, *args: Any) -> Any:
        HalfSent.state = self.redis
        return adopt(self, *args)

    return adopts


def in_callback(join: Any) -> Any:
    """The body of the chord dies before it has sent its parent's message."""

    def dies(self: Children, goal_id: str) -> bool:
        die_once(self.redis, "callback", goal_id)
        return bool(join(self, goal_id))

    return dies


def between(work: Any) -> Any:
    """A parent that goes on dies before it has done anything."""

    def plan_work(app: Any) -> Any:
        inner = work(app)

        def dies(run: Any) -> Any:
            if run.runtime.children.members(run.record.goal_id):
                die_once(run.runtime.redis, "between", run.record.goal_id)
            return inner(run)

        return dies

    return plan_work


def in_commit(reached: Any) -> Any:
    """A member dies when its commit is logged and its files are not in place."""

    def finish(self: Publisher, project: str, commit_id: str) -> None:
        if "@" in project:
            parent = project.rpartition("@")[2]
            die_once(self.log._redis, "commit", parent)
        reached(self, project, commit_id)

    return finish


fanout.wire = HalfSent  # type: ignore[assignment]
Children.adopt = remembered(Children.adopt)  # type: ignore[method-assign]
Children.join = in_callback(Children.join)  # type: ignore[method-assign]
Publisher._finish = in_commit(Publisher._finish)  # type: ignore[method-assign]

import llmos_workers.tasks.goals as doors  # noqa: E402 - its names are bound at import

doors.plan_work = between(doors.plan_work)
