"""The goal records in Redis: the truth about every goal; the broker's message is only a hint.

Producers use ``create``, ``create_many``, ``ensure``, ``request_cancel`` and the reads: plain
commands. Workers write through one Lua script (lua/goals.lua) that checks the fencing token by
the server's own time. There is a lease exactly while a goal is RUNNING; every way out of
RUNNING gives it back, and a lease past its time is lost even when nobody took over.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import redis

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import (
    GoalFinished,
    IllegalTransition,
    LeaseHeld,
    LeaseLost,
    NewerFormat,
)
from llmos_workers.contracts.goal import (
    FINAL_STATES,
    PAYLOAD_VERSION,
    TRANSITIONS,
    GoalRecord,
    GoalState,
    TaskEnvelope,
)
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel import goal_submit, keys, scripts
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goal_codec import pairs, read_record, record_fields
from llmos_workers.kernel.goal_reads import GoalReads
from llmos_workers.kernel.goal_submit import (
    CHUNK,
    Publish,
    cancelled_outcome,
    new_goal_id,
    new_record,
    state_event,
)
from llmos_workers.kernel.lease import Lease, LeaseKeeper

__all__ = ["GoalStore", "Lease", "LeaseKeeper", "new_goal_id", "new_record"]

DEFAULT_RETENTION_S = 7 * 86_400
PRUNE_GRACE_S = 3_600
"""Records outlive their retention by this much, so that prune can still see their project."""

DEFAULT_TTL_S = 30.0


def _listed(states: Collection[GoalState]) -> str:
    return f"|{'|'.join(state.value for state in states)}|"


_FINALS = _listed(FINAL_STATES)
_LIVE = _listed([state for state in GoalState if not state.final])
_INTO = {to: [before for before in GoalState if to in TRANSITIONS[before]] for to in GoalState}


class GoalStore(GoalReads):
    """Reads and writes goal records. ``retention_s``: how long a finished one is kept."""

    def __init__(
        self, redis: redis.Redis, clock: Clock, *, retention_s: int = DEFAULT_RETENTION_S
    ) -> None:
        super().__init__(redis)
        self._clock = clock
        self._kept_s = retention_s + PRUNE_GRACE_S
        self._retention_s = retention_s

    # -- producers: plain commands ---------------------------------------------------------

    def create(
        self, record: GoalRecord, *, publish: Publish | None = None
    ) -> tuple[GoalRecord, bool]:
        """Store a new goal: (the record that stands, whether this call made it).

        When its id or its idempotency key is known for the same text and project, the older
        record comes back, perhaps under another id than asked. ``publish`` may add commands to
        the transaction. Raises InvalidOption, naming the older goal, when key or id was used
        for another text.
        """
        return self.create_many([record], publish=publish)[0]

    def create_many(
        self, records: Sequence[GoalRecord], *, publish: Publish | None = None
    ) -> list[tuple[GoalRecord, bool]]:
        """``create`` for many, a transaction per 500.

        A conflict raises before anything of its 500 is stored; earlier ones stay stored.
        """
        results: list[tuple[GoalRecord, bool]] = []
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            results += goal_submit.create_chunk(self._redis, chunk, publish)
        return results

    def ensure(self, record: GoalRecord) -> tuple[GoalRecord, bool]:
        """``create`` for a message of a plain app, whose goal id is its task id: nothing is
        published, the message is already here.

        A redelivery gets the stored record. When the idempotency key belongs to another goal,
        that one comes back: its ``goal_id`` differs from the asked one, and its outcome is the
        answer to this message too.
        """
        return self.create(record)

    def blank(self, goal_id: str, text: str) -> None:
        """Keep a goal that is refused under this text, and without its metadata."""
        record = self.get(goal_id)
        options = record.options.model_copy(update={"metadata": {}})
        fields = record_fields(record.model_copy(update={"text": text, "options": options}))
        self._redis.hset(keys.goal(goal_id), mapping={k: fields[k] for k in ("text", "options")})

    def request_cancel(self, goal_id: str) -> GoalState:
        """Ask a goal to stop; the state after it. See ``stop``."""
        return self.stop(goal_id)[0]

    def stop(self, goal_id: str) -> tuple[GoalState, GoalRecord | None]:
        """Ask a goal to stop: (the state after it, its record before if it ended here).

        A goal that no run holds becomes CANCELLED here and now, with its outcome. Celery has to
        be told (result, chord part) by a task that takes the goal's message: one that waited
        has none, so the caller sends it; the recovery clock sends what got lost. A RUNNING one
        is flagged: its run sees ``cancel_requested``, and cannot go into any waiting state any
        more. Finished goals stay as they are. Raises GoalNotFound.
        """
        now = self._clock.now()
        return goal_submit.cancel(self._redis, goal_id, now, retention_s=self._kept_s)

    def reported(self, goal_id: str) -> None:
        """A task gives the stored outcome of a goal, which ended outside of a task, to Celery."""
        self._redis.zrem(keys.UNREPORTED, goal_id)

    # -- workers: one script, under the fence --------------------------------------------------

    def acquire(
        self,
        goal_id: str,
        *,
        owner: str,
        ttl_s: float = DEFAULT_TTL_S,
        mode: str | None = None,
        only_from: Collection[GoalState] | None = None,
    ) -> tuple[Lease, GoalRecord]:
        """Become the goal's run: the lease and the whole record, in one round trip.

        The state becomes RUNNING, fence and deliveries grow by one. ``mode`` is what ledger
        entries of this run are filed under; ``only_from`` narrows the states to start from
        (a goal that waits for approval is not started by a stray message). Raises
        GoalNotFound; GoalFinished, also when a cancel was asked for (the goal is CANCELLED
        then); LeaseHeld while another run lives, whoever owns it; IllegalTransition;
        NewerFormat, and nothing has changed.
        """
        allowed = [s for s in _INTO[GoalState.RUNNING] if only_from is None or s in only_from]
        event = state_event(GoalState.RUNNING)
        args = (ttl_s, mode or "", owner, event, PAYLOAD_VERSION)
        reply = self._run("acquire", goal_id, args, allowed=_listed(allowed))
        fence, until, flat = int(reply[1]), float(reply[2]), reply[3]
        return Lease(goal_id, owner, fence, until), read_record(goal_id, pairs(flat))

    def renew(self, lease: Lease, *, ttl_s: float = DEFAULT_TTL_S) -> Lease:
        """Make the lease last ``ttl_s`` seconds from now. Raises LeaseLost, GoalFinished."""
        reply = self._run("renew", lease.goal_id, (ttl_s,), fence=lease.fence, owner=lease.owner)
        return Lease(lease.goal_id, lease.owner, lease.fence, float(reply[1]))

    def release(
        self, lease: Lease, *, state: GoalState, event: dict[str, Any] | None = None
    ) -> None:
        """``transition`` by its holder: gives the goal back in ``state``, not a final one."""
        self._move(lease.goal_id, state, fence=lease.fence, owner=lease.owner, event=event)

    def transition(
        self,
        goal_id: str,
        to: GoalState,
        *,
        fence: int | None = None,
        decision: ModeDecision | None = None,
        envelope: TaskEnvelope | None = None,
        event: dict[str, Any] | None = None,
    ) -> None:
        """Bring a goal into a state that is not final, storing decision and envelope with it.

        Every state but RUNNING ends the lease; to RUNNING only the holder may go (from RUNNING,
        to store something), everybody else uses ``acquire``. ``event`` joins the data of the
        state event. Raises IllegalTransition; LeaseLost for a stale fence; LeaseHeld without a
        fence while a run lives; GoalFinished, also when a cancel was asked for meanwhile: the
        goal is then CANCELLED instead of entering ``to``.
        """
        self._move(
            goal_id, to, fence=fence, owner="", decision=decision, envelope=envelope, event=event
        )

    def count_redelivery(self, goal_id: str, *, over: bool = False) -> int:
        """Note that a goal without a lease was begun before by a process that did not end it;
        how often. ``over``: this process did not die of it, all is forgotten.
        """
        if over:
            self._redis.hdel(keys.goal(goal_id), "redeliveries")
            return 0
        return self._redis.hincrby(keys.goal(goal_id), "redeliveries", 1)

    def survived(self, goal_id: str, *, most: int) -> None:
        """A run that lost its lease lives: its start took nobody with it and counts no more. So
        ``most`` times, for what always keeps its worker from renewing harms it too. Raises
        GoalNotFound, GoalFinished.
        """
        self._run("survived", goal_id, (most,))

    def finish(
        self, outcome: Outcome, *, fence: int | None, event: dict[str, Any] | None = None
    ) -> Outcome:
        """Store the outcome and enter its status as final state, once; returns the stored one.

        A goal that is already final keeps its first outcome, which comes back. Without a fence
        (REJECTED at dispatch, denied, dead) no run may live: LeaseHeld. Raises LeaseLost for a
        stale fence, GoalNotFound.
        """
        to = GoalState(outcome.status)
        if not to.final:
            raise IllegalTransition(f"{to} is no final state.")
        stored = outcome.model_dump_json()
        args = (to.value, stored, self._kept_s, state_event(to, event))
        try:
            reply = self._run("finish", outcome.goal_id, args, fence=fence, allowed=_into(to))
        except _Finished as finished:
            return Outcome.model_validate_json(finished.outcome)
        return outcome if reply[1] == stored.encode() else Outcome.model_validate_json(reply[1])

    def append_journal(self, lease: Lease, entry: bytes) -> int:
        """Add an entry to the goal's journal; its new length. Raises LeaseLost, GoalFinished."""
        reply = self._run("journal", lease.goal_id, (entry,), fence=lease.fence, owner=lease.owner)
        return int(reply[1])

    def emit(
        self,
        goal_id: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        fence: int | None = None,
    ) -> None:
        """Add an event to the goal's stream. With a fence raises LeaseLost or GoalFinished when
        it is stale; without one the event of an unknown goal is dropped.
        """
        text = json.dumps(data)
        if fence is not None:
            self._run("emit", goal_id, (kind, text), fence=fence)
            return
        entry = {"kind": kind, "at": repr(self._clock.now()), "data": text}
        self._redis.xadd(
            keys.goal_events(goal_id), dict(entry.items()), maxlen=1000, nomkstream=True
        )

    def prune(self, *, limit: int = 1_000) -> int:
        """Forget finished goals past their retention, at most ``limit`` of each final state;
        how many. For the upkeep role: the records expire by themselves, their index entries
        do not.
        """
        before = self._clock.now() - self._retention_s
        pruned = 0
        for state in FINAL_STATES:
            index = keys.goals_in_state(state)
            ids = cast(list[bytes], self._redis.zrangebyscore(index, "-inf", before, 0, limit))
            self._forget(index, [each.decode() for each in ids])
            pruned += len(ids)
        return pruned

    # -- inside ------------------------------------------------------------------------------

    def _move(
        self,
        goal_id: str,
        to: GoalState,
        *,
        fence: int | None,
        owner: str,
        decision: ModeDecision | None = None,
        envelope: TaskEnvelope | None = None,
        event: dict[str, Any] | None = None,
    ) -> None:
        if to.final:
            raise IllegalTransition(f"{to} needs an outcome: use finish.")
        if to is GoalState.RUNNING and fence is None:
            raise IllegalTransition("a goal starts to run by acquire.")
        args = (
            to.value,
            decision.model_dump_json() if decision else "",
            envelope.model_dump_json() if envelope else "",
            state_event(to, event),
        )
        allowed = "|RUNNING|" if to is GoalState.RUNNING else _into(to)
        self._run("move", goal_id, args, fence=fence, owner=owner, allowed=allowed, to=to)

    def _run(
        self,
        op: str,
        goal_id: str,
        args: Sequence[scripts.Argument],
        *,
        fence: int | None = None,
        owner: str = "",
        allowed: str = _LIVE,
        to: GoalState = GoalState.RUNNING,
    ) -> list[Any]:
        """Call the script and turn its refusals into errors."""
        names = [keys.goal(goal_id), keys.goal_events(goal_id), keys.goal_journal(goal_id)]
        names.append(keys.scope_budget(f"goal:{goal_id}"))
        head = (op, goal_id, keys.goals_in_state(""), uuid.uuid4().hex)
        caller = ("" if fence is None else fence, owner, allowed, _FINALS)
        script = scripts.load("goals", include=("fence", "members"))
        reply: list[Any] = script.run(self._redis, names, (*head, *caller, *args))
        code = reply[0].decode()
        if code == "cancel":
            record = read_record(goal_id, pairs(reply[1]))
            ended = self.finish(cancelled_outcome(record, self._clock.now()), fence=fence)
            raise _Finished(goal_id, ended.status, ended.model_dump_json().encode())
        if code != "ok":
            raise _refusal(code, reply, goal_id, to)
        return reply

    def _forget(self, index: str, goal_ids: Sequence[str]) -> None:
        if not goal_ids:
            return
        records = self.get_many(goal_ids)
        with self._redis.pipeline() as pipe:
            for record in filter(None, records):
                pipe.zrem(keys.goals_of_project(record.project), record.goal_id)
            for goal_id in goal_ids:
                pipe.unlink(
                    keys.goal(goal_id), keys.goal_events(goal_id), keys.goal_journal(goal_id),
                    keys.goal_live(goal_id), keys.goal_members(goal_id),
                )  # fmt: skip
            pipe.zrem(index, *goal_ids)
            pipe.zrem(keys.GOALS_ALL, *goal_ids)
            pipe.execute()


class _Finished(GoalFinished):
    """GoalFinished that carries the stored outcome."""

    def __init__(self, goal_id: str, state: str, outcome: bytes) -> None:
        super().__init__(f"goal {goal_id} is already {state}.")
        self.outcome = outcome


def _into(to: GoalState) -> str:
    return _listed(_INTO[to])


def _refusal(code: str, reply: Sequence[Any], goal_id: str, to: GoalState) -> Exception:
    if code == "missing":
        return goal_submit.not_found(goal_id)
    if code == "finished":
        return _Finished(goal_id, reply[1].decode(), reply[2])
    if code == "held":
        left = float(reply[1])
        return LeaseHeld(f"goal {goal_id} is held by another run for {left:.1f} s.", remaining=left)
    if code == "lost":
        return LeaseLost(f"the run of goal {goal_id} lost its lease and may write nothing more.")
    if code == "newer":
        return NewerFormat(f"goal {goal_id}", reply[1].decode(), PAYLOAD_VERSION)
    return IllegalTransition(f"a goal that is {reply[1].decode()} cannot become {to}.")
