"""The recovery clock's work: goals whose run died or whose message is gone go on.

Goal records are the truth, the broker's messages a hint. A tick runs in any worker process
under one lock with a short expiry; each of its acts is checked by the record's own script or is
harmless twice, so that two ticks at once, or one that dies anywhere, do no damage.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from llmos_workers.config import KernelConfig
from llmos_workers.contracts.errors import GoalNotFound, GoalStateError
from llmos_workers.contracts.events import Topic
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel import broker as broker_view
from llmos_workers.kernel import keys, scripts, wire
from llmos_workers.kernel.admission import Admission
from llmos_workers.kernel.approvals import Approvals
from llmos_workers.kernel.children import Children
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.dead import poisoned
from llmos_workers.kernel.delayed import DelayedGoals, change, change_many
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.flight import Flights
from llmos_workers.kernel.goal_codec import pairs, read_known
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.schedules import Schedules, submitter
from llmos_workers.kernel.sweep import Suspects, Sweep

log = logging.getLogger(__name__)

TICK_SECS = 1.0
LOCK_MS = 900
"""A little less than a tick: whoever comes first takes the next one."""

BUDGET_SECS = 0.05
"""How long a tick searches queues: it runs between a worker's deliveries."""

RUNNING_WINDOW = 2_000
MOST_DIED = 100


@dataclass(frozen=True)
class Recovered:
    """What one tick did, in goals."""

    died: int = 0
    """Runs that died: given back to a queue."""
    lost: int = 0
    """Messages that were gone: sent again."""
    dead: int = 0
    """Given up after too many starts."""
    woken: int = 0
    """Waited for their time, which came."""


class Recovery:
    """Does ticks. ``state`` and ``broker`` are clients of the two databases."""

    def __init__(
        self,
        state: Client,
        broker: Client,
        config: KernelConfig,
        *,
        queues: Sequence[str] = ("dispatch", "llm", "replay"),
        clock: Clock | None = None,
    ) -> None:
        self._state, self._broker = state, broker
        self._clock = clock or SystemClock()
        self._max_starts = config.max_deliveries
        self._grace_s = config.recovery_grace_secs
        self._goals = GoalStore(state, self._clock, retention_s=config.result_retention_secs)
        self._delayed = DelayedGoals(state, broker, self._goals)
        self._bus = EventBus(state)
        self._admission = Admission(state, broker, self._goals, window=config.project_window)
        self._flights = Flights(state, broker, self._goals)
        self._children = Children(state, broker, self._goals)
        self._approvals = Approvals(state, wake=self._delayed.wake)
        self._scheduling = config.enable_scheduling
        self._schedules = Schedules(state, self._clock)
        self._submit = submitter(self._goals, broker, self._clock)
        self._lists = [name for queue in queues for name in wire.queue_lists(queue)]
        self._sweep = Sweep(state, broker, self._lists, self._grace_s, self._clock)

    def tick(self) -> Recovered | None:
        """One round, some 50 ms at most; None while another process does it.

        Raises redis.RedisError; the next tick goes on.
        """
        if not self._state.set(keys.RECOVERY_LOCK, uuid.uuid4().hex, nx=True, px=LOCK_MS):
            return None
        return self.work()

    def work(self) -> Recovered:
        """A tick without the lock."""
        woken = self._delayed.move_due(self._now()) + self._approvals.wake_due()
        self._admission.pump()
        if self._scheduling:
            self._schedules.tick(self._now(), self._submit)
        died, dead = self._take_back()
        woken += self._flights.tick() + self._children.tick()
        lost = self._send_again(self._sweep.go_on(BUDGET_SECS))
        return Recovered(died=died, lost=lost, dead=dead, woken=woken)

    # -- runs that died ----------------------------------------------------------------------

    def _take_back(self) -> tuple[int, int]:
        """Goals of dead runs: (back in a queue, given up)."""
        names = [keys.goals_in_state(GoalState.RUNNING), keys.RECOVERY_STATE]
        script = scripts.load("expired", include=("fence",))
        found = script.run(self._state, names, (keys.goal(""), RUNNING_WINDOW, MOST_DIED))
        goal_ids = [each.decode() for each in cast(list[bytes], found)]
        if not goal_ids:
            return 0, 0
        deliveries = broker_view.held(self._broker, goal_ids)
        died = dead = 0
        for goal_id, record in zip(goal_ids, self._goals.get_many(goal_ids), strict=True):
            if record is None:
                continue
            if record.deliveries >= self._max_starts:
                dead += self._give_up(record, deliveries.get(goal_id))
            else:
                died += self._reclaim(record, deliveries.get(goal_id))
        return died, dead

    def _reclaim(self, record: GoalRecord, delivery: broker_view.Held | None) -> bool:
        to = GoalState.ACCEPTED if delivery is None else GoalState.DISPATCHED
        why = f"the run on {record.lease_owner or 'a worker'} died; the goal starts again"
        changed = self._change("reclaim", record.goal_id, why, (to.value,))
        if changed is None:
            return False
        log.warning("goal %s: %s", record.goal_id, why)
        self._send(changed, delivery)
        return True

    def _give_up(self, record: GoalRecord, delivery: broker_view.Held | None) -> bool:
        """DEAD. Its message is sent once more, for a task to store the result and report to
        the chord; it starts nothing, the goal has ended.
        """
        spent = cast(bytes | None, self._state.hget(_goal_budget(record.goal_id), "spent"))
        outcome = _dead_outcome(record, self._clock.now(), int(spent or 0))
        self._state.zadd(keys.UNREPORTED, {record.goal_id: self._now()})
        try:
            stored = self._goals.finish(outcome, fence=None)
        except (GoalStateError, GoalNotFound) as error:
            log.info("goal %s is not given up: %s", record.goal_id, error)
            return False
        log.error("goal %s is DEAD after %d starts", record.goal_id, record.deliveries)
        self._state.hincrby(keys.COUNTERS, "recovery.dead", 1)
        facts = {"goal_id": record.goal_id, "project": record.project, "status": stored.status}
        self._bus.publish(Topic.TASK_FAILED, facts)
        self._send(record, delivery)
        return True

    def _send(self, record: GoalRecord, delivery: broker_view.Held | None) -> None:
        """Best the very message of the dead run: it knows its hop, callbacks and steps done."""
        if delivery is None or not broker_view.restore(self._broker, delivery):
            wire.publish(self._broker, [record])

    # -- messages that are gone --------------------------------------------------------------

    def _send_again(self, suspects: Suspects) -> int:
        if not suspects:
            return 0
        why = "its message was lost; it is sent again"
        calls = [(goal_id, (repr(since), self._grace_s)) for goal_id, since in suspects]
        replies = change_many(self._state, "lost", _notice(why), calls)
        found = [
            read_known(goal_id, pairs(rest[0]))
            for (goal_id, _), (code, *rest) in zip(suspects, replies, strict=True)
            if code == b"ok"
        ]
        lost = [record for record in found if record is not None]
        wire.publish(self._broker, lost)
        self._report_again([goal_id for goal_id, _ in suspects])
        self._sweep.handled([goal_id for goal_id, _ in suspects])
        if lost:
            log.warning("%d goals without a message are sent again", len(lost))
        return len(lost)

    def _report_again(self, goal_ids: Sequence[str]) -> None:
        """Send the messages of those that ended outside of a task and were not reported."""
        times = self._state.zmscore(keys.UNREPORTED, list(goal_ids))
        before = self._now() - self._grace_s
        late = [
            goal_id
            for goal_id, ended in zip(goal_ids, times, strict=True)
            if ended is not None and ended <= before
        ]
        if not late:
            return
        found = dict(zip(late, self._goals.get_many(late), strict=True))
        ended = [record for record in found.values() if record and record.state.final]
        known = {record.goal_id for record in ended}
        newer = {each for each in late if not found[each] and self._state.exists(keys.goal(each))}
        with self._state.pipeline() as pipe:
            for goal_id in late:
                if goal_id in known:
                    pipe.zadd(keys.UNREPORTED, {goal_id: self._clock.now()}, xx=True)
                elif goal_id not in newer:
                    pipe.zrem(keys.UNREPORTED, goal_id)
            pipe.execute()
        wire.publish(self._broker, ended)

    def _change(
        self, op: str, goal_id: str, why: str, args: Sequence[scripts.Argument]
    ) -> GoalRecord | None:
        """The record after the change; None when the goal is not in that state any more."""
        code, *rest = change(self._state, op, goal_id, _notice(why), args)
        return read_known(goal_id, pairs(rest[0])) if code == b"ok" else None

    def _now(self) -> float:
        seconds, micros = self._state.time()
        return seconds + micros / 1e6


def _notice(why: str) -> str:
    return json.dumps({"message": why, "by": "recovery"})


def _goal_budget(goal_id: str) -> str:
    return keys.scope_budget(f"goal:{goal_id}")


def _dead_outcome(record: GoalRecord, now: float, cost_micro: int) -> Outcome:
    decision = record.decision
    return Outcome(
        goal_id=record.goal_id,
        status=GoalState.DEAD.value,
        project=record.project,
        mode=decision.mode if decision else None,
        reason=decision.reason if decision else "",
        duration_s=max(0.0, now - record.created_at),
        cost_micro=cost_micro,
        error=poisoned(record.goal_id, record.deliveries),
    )
