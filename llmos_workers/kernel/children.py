"""Members of a plan: goals of their own that one parent goal waits for, without a worker.

The counter is a set in Redis, the parent's live members. A member leaves it in the script that
ends it (lua/members.lua); one that ends outside of a script (a producer's cancel) leaves it in that
transaction. The last one lets the parent go on: state first, message second. The message is the
body of a Celery chord over the members (tasks/fanout.py), a hint like all messages: where it is
lost, or nobody ran the script, ``tick`` finds the parent by the members' own records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from llmos_workers.contracts.errors import Cancelled, GoalFinished, GoalNotFound, LeaseLost
from llmos_workers.contracts.goal import FINAL_STATES, GoalRecord, GoalState
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.kernel import keys, scripts, wire
from llmos_workers.kernel.goal_codec import pairs, read_known
from llmos_workers.kernel.goal_submit import not_found
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.redis import Client

READS_KEPT_S = 7 * 86_400
WINDOW = 50
"""Parents that one tick looks at; the window goes round."""

_FINALS = f"|{'|'.join(sorted(state.value for state in FINAL_STATES))}|"


@dataclass(frozen=True)
class Place:
    """Which step of the plan a member does, and which try it is."""

    step: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.step}:{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """What ``str`` made."""
        step, _, attempt = text.rpartition(":")
        return cls(step, int(attempt))


@dataclass(frozen=True)
class Children:
    """The members of all plans. ``redis`` is the state database, ``broker`` the broker's."""

    redis: Client
    broker: Client
    goals: GoalStore

    def adopt(self, lease: Lease, members: Mapping[str, Place]) -> int:
        """Make these goals (id -> place) members of the lease's goal, before they are stored; how
        many of its members live now. Those known already stay as they are. Raises LeaseLost,
        GoalFinished, GoalNotFound; Cancelled when somebody asked the goal to stop.
        """
        listed = [part for goal_id, place in members.items() for part in (goal_id, str(place))]
        code, *rest = self._run("adopt", lease.goal_id, (lease.fence, lease.owner, *listed))
        if code == b"missing":
            raise not_found(lease.goal_id)
        if code == b"finished":
            raise GoalFinished(f"goal {lease.goal_id} has already ended.")
        if code == b"lost":
            raise LeaseLost(f"the run of goal {lease.goal_id} lost its lease.")
        if code == b"cancel":
            raise Cancelled("the goal was cancelled.")
        return int(rest[0])

    def members(self, goal_id: str) -> dict[str, Place]:
        """All members that a goal ever had: id -> place."""
        found = cast(dict[bytes, bytes], self.redis.hgetall(keys.goal_members(goal_id)))
        return {each.decode(): Place.parse(place.decode()) for each, place in found.items()}

    def live(self, goal_id: str) -> set[str]:
        """Ids of the members that have not ended."""
        found = cast(set[bytes], self.redis.smembers(keys.goal_live(goal_id)))
        return {each.decode() for each in found}

    def mark_tainted(self, goal_id: str, source: str) -> None:
        """What is on the goal's board holds content from outside; said before it is published."""
        self.redis.hsetnx(keys.goal(goal_id), "tainted", source)

    def taint(self, goal_id: str) -> str:
        """Where content from outside came from that the goal's board may hold; "": nowhere."""
        found = cast("bytes | None", self.redis.hget(keys.goal(goal_id), "tainted"))
        return found.decode() if found else ""

    def note_reads(self, goal_id: str, files: Iterable[FileDigest]) -> None:
        """A member of the goal depends on these files, as it read them."""
        found = {file.path: file.model_dump_json() for file in files}
        if found:
            self.redis.hset(keys.goal_reads(goal_id), mapping=dict(found.items()))
            self.redis.expire(keys.goal_reads(goal_id), READS_KEPT_S)

    def reads(self, goal_id: str) -> tuple[FileDigest, ...]:
        """All files that members of the goal depended on."""
        found = cast(list[bytes], self.redis.hvals(keys.goal_reads(goal_id)))
        return tuple(FileDigest.model_validate_json(each) for each in found)

    def forget_reads(self, goal_id: str) -> None:
        """What members of the goal depended on does not count any more."""
        self.redis.delete(keys.goal_reads(goal_id))

    def join(self, goal_id: str) -> bool:
        """Send the message of a parent whose members have all ended, unless somebody has taken
        it up; whether it was sent. Twice is a duplicate, which its own state answers.
        """
        code, *rest = self._run("settle", goal_id)
        if code not in (b"woken", b"ready"):
            return False
        record = read_known(goal_id, pairs(rest[0]))
        return record is not None and bool(wire.publish(self.broker, [record]))

    def tick(self) -> int:
        """Look at some of the parents that wait; how many go on that nobody had told to."""
        index = keys.goals_in_state(GoalState.WAITING_CHILDREN)
        start = int(cast(bytes, self.redis.hget(keys.RECOVERY_STATE, "children") or b"0"))
        found = cast(list[bytes], self.redis.zrange(index, start, start + WINDOW - 1))
        if not found and not start:
            return 0
        woken: list[GoalRecord] = []
        for raw in found:
            goal_id = raw.decode()
            code, *rest = self._run("settle", goal_id)
            record = read_known(goal_id, pairs(rest[0])) if code == b"woken" else None
            if record is not None:
                woken.append(record)
        onward = 0 if len(found) < WINDOW else start + WINDOW - len(woken)
        self.redis.hset(keys.RECOVERY_STATE, "children", onward)
        return wire.publish(self.broker, woken) if woken else 0

    def end_all(self, goal_id: str) -> int:
        """Ask the live members of a goal that has ended to end too; how many were asked.

        Those that no run holds are CANCELLED at once, and their messages sent, for a task to tell
        Celery and their own members.
        """
        ended = []
        live = self.live(goal_id)
        for each in live:
            with suppress(GoalNotFound):  # adopted, and never stored
                _, before = self.goals.stop(each)
                if before is not None:
                    ended.append(before)
        if ended:
            wire.publish(self.broker, ended)
        return len(live)

    def _run(self, op: str, goal_id: str, args: Sequence[scripts.Argument] = ()) -> list[Any]:
        names = [keys.goal(goal_id), keys.goal_live(goal_id), keys.goal_members(goal_id)]
        head = (op, goal_id, keys.goals_in_state(""), keys.goal(""), _FINALS)
        script = scripts.load("children", include=("fence", "members"))
        return cast(list[Any], script.run(self.redis, names, (*head, *args)))
