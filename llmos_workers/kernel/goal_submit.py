"""What producers do to goal records, with plain Redis commands only: no scripts.

A producer's rights need no scripting. Each change is one WATCH ... MULTI/EXEC; a key that
somebody else changed in between makes it start again.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import redis
from redis.client import Pipeline
from redis.exceptions import WatchError

from llmos_workers.contracts.errors import GoalNotFound, InvalidOption
from llmos_workers.contracts.events import GoalEventKind
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.kernel import keys, telemetry
from llmos_workers.kernel.goal_codec import read_record, record_fields

Publish = Callable[[Pipeline, GoalRecord], None]

CHUNK = 500
"""Records of one transaction: bounds how long the server is held by one."""

GOAL_ID = re.compile(r"[\x21-\x7e]{1,200}")

_OURS = (":events", ":journal", ":approvals", ":live", ":members", ":reads", ":feedback")
"""Ends of keys that belong to a goal."""

_NAMESPACE = uuid.UUID("5a0d3c0e-6f0b-5c52-9a57-6c6c6d6f7301")


def new_goal_id(project: str, idempotency_key: str | None = None) -> str:
    """A fresh id; with an idempotency key always the same one within the project."""
    if idempotency_key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_NAMESPACE, f"{project}\n{idempotency_key}"))


def check_goal_id(goal_id: str) -> None:
    """Refuse an id that a plain app chose and that cannot name our keys. Raises InvalidOption."""
    if not GOAL_ID.fullmatch(goal_id) or goal_id.endswith(_OURS):
        raise InvalidOption(
            f"the task id {goal_id[:200]!r} cannot be a goal id.",
            fix="Use 1-200 printable ASCII characters, best the UUID that Celery makes.",
        )


def new_record(
    text: str,
    options: GoalOptions,
    *,
    now: float,
    goal_id: str | None = None,
    traceparent: str | None = None,
    envelope: TaskEnvelope | None = None,
) -> GoalRecord:
    """A goal as it is when it is accepted. ``now`` is Unix time; text and options are checked
    by their own makers (check_goal_text, make_options).
    """
    goal_id = goal_id or new_goal_id(options.project, options.idempotency_key)
    told = {"llmos.goal.id": goal_id, "llmos.project": options.project}
    return GoalRecord(
        goal_id=goal_id,
        text=text,
        options=options,
        traceparent=telemetry.submitted(traceparent, told),
        created_at=now,
        updated_at=now,
        envelope=envelope or TaskEnvelope(),
    )


def cancelled_outcome(record: GoalRecord, now: float) -> Outcome:
    """The outcome of a goal that was cancelled at ``now`` (Unix time)."""
    decision = record.decision
    return Outcome(
        goal_id=record.goal_id,
        status=GoalState.CANCELLED.value,
        project=record.project,
        mode=decision.mode if decision else None,
        reason=decision.reason if decision else "",
        duration_s=max(0.0, now - record.created_at),
        error=ErrorInfo(kind="Cancelled", message="the goal was cancelled."),
    )


def state_event(state: GoalState, extra: Mapping[str, object] | None = None) -> str:
    """Data of the event that a change of state leaves in the goal's stream."""
    return json.dumps({"state": state.value, **(extra or {})})


def create_chunk(
    client: redis.Redis, records: Sequence[GoalRecord], publish: Publish | None
) -> list[tuple[GoalRecord, bool]]:
    """Store those that are not there yet, all in one transaction; see GoalStore.create_many."""
    for record in records:
        check_goal_id(record.goal_id)
    watched = [name for record in records for name in _names(record)]
    again = False
    while True:
        with client.pipeline() as pipe:
            try:
                pipe.watch(*watched)  # type: ignore[no-untyped-call]
                # In the common case nothing is there, and one EXISTS says so for all.
                present = bool(pipe.exists(*watched))
                older = _stored(client, records) if present else {}
                results = _decide(records, older, retried=again)
                pipe.multi()
                for record in {r.goal_id: r for r, created in results if created}.values():
                    if record.goal_id not in older:
                        _write(pipe, record)
                    if publish is not None:
                        publish(pipe, record)
                pipe.execute()
            except WatchError:
                again = True
                continue
            return results


def cancel(
    client: redis.Redis, goal_id: str, now: float, *, retention_s: int
) -> tuple[GoalState, GoalRecord | None]:
    """Ask a goal to stop: (state after it, what it was if it ended here). See GoalStore.stop."""
    name = keys.goal(goal_id)
    while True:
        with client.pipeline() as pipe:
            try:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                fields = cast(dict[bytes, bytes], pipe.hgetall(name))
                if not fields:
                    raise not_found(goal_id)
                record = read_record(goal_id, fields)
                if record.state.final:
                    return record.state, None
                pipe.multi()
                pipe.hset(name, "cancel", "1")
                if record.state is not GoalState.RUNNING:
                    _end(pipe, record, fields, now, retention_s)
                pipe.execute()
            except WatchError:
                continue
            if record.state is GoalState.RUNNING:
                return record.state, None
            return GoalState.CANCELLED, record


def not_found(goal_id: str) -> GoalNotFound:
    """The error for an id that no record has."""
    return GoalNotFound(
        f"there is no goal {goal_id}.",
        fix="See llmos list; the whole id is needed, and ended goals are kept for a limited time.",
    )


def _names(record: GoalRecord) -> list[str]:
    key = record.options.idempotency_key
    alias = [] if key is None else [keys.idempotency(record.project, key)]
    return [keys.goal(record.goal_id), *alias]


def _stored(client: redis.Redis, records: Sequence[GoalRecord]) -> dict[str, GoalRecord]:
    """Asked goal id -> the record that already stands for it (maybe under another id)."""
    owners = {record.goal_id: record.goal_id for record in records}
    keyed = [r for r in records if r.options.idempotency_key is not None]
    with client.pipeline(transaction=False) as pipe:
        for record in keyed:
            pipe.get(keys.idempotency(record.project, record.options.idempotency_key or ""))
        for record, owner in zip(keyed, pipe.execute(), strict=True):
            owners[record.goal_id] = owner.decode() if owner else record.goal_id
    with client.pipeline(transaction=False) as pipe:
        for owner in owners.values():
            pipe.hgetall(keys.goal(owner))
        found = zip(owners.items(), pipe.execute(), strict=True)
        return {asked: read_record(owner, fields) for (asked, owner), fields in found if fields}


def _decide(
    records: Sequence[GoalRecord], older: Mapping[str, GoalRecord], *, retried: bool
) -> list[tuple[GoalRecord, bool]]:
    results: list[tuple[GoalRecord, bool]] = []
    taken: dict[str, GoalRecord] = dict(older)
    for record in records:
        there = taken.setdefault(record.goal_id, record)
        if there.text != record.text or there.project != record.project:
            raise _conflict(record, there)
        # An EXEC whose answer got lost with the connection did its work: what is there then
        # is our own.
        mine = there is record or (retried and there == record)
        results.append((there, mine))
    return results


def _conflict(record: GoalRecord, there: GoalRecord) -> InvalidOption:
    words = there.text if len(there.text) <= 60 else there.text[:57] + "..."
    key = record.options.idempotency_key
    what = f"goal id {record.goal_id}" if key is None else f"idempotency key {key!r}"
    return InvalidOption(
        f'{what} was already used for another goal: {there.goal_id} ("{words}").',
        fix="Submit this goal with a key of its own.",
    )


def _write(pipe: Pipeline, record: GoalRecord) -> None:
    pipe.hset(keys.goal(record.goal_id), mapping=_invariant(record_fields(record)))
    entry = {record.goal_id: record.created_at}
    pipe.zadd(keys.GOALS_ALL, entry)
    pipe.zadd(keys.goals_of_project(record.project), entry)
    pipe.zadd(keys.goals_in_state(record.state), entry)
    if record.options.idempotency_key is not None:
        alias = keys.idempotency(record.project, record.options.idempotency_key)
        pipe.set(alias, record.goal_id)
    _record_state(pipe, record.goal_id, record.state, record.created_at)


def _end(
    pipe: Pipeline, record: GoalRecord, fields: Mapping[bytes, bytes], now: float, retention_s: int
) -> None:
    goal_id, name = record.goal_id, keys.goal(record.goal_id)
    outcome = cancelled_outcome(record, now)
    changed = {
        "state": GoalState.CANCELLED.value,
        "outcome": outcome.model_dump_json(),
        "updated_at": repr(now),
    }
    pipe.hset(name, mapping=_invariant(changed))
    pipe.zrem(keys.goals_in_state(record.state), goal_id)
    pipe.zadd(keys.goals_in_state(GoalState.CANCELLED), {goal_id: now})
    pipe.zadd(keys.UNREPORTED, {goal_id: now})
    if (member := record.options.member) is not None:
        # Whoever reports it, or the recovery clock, lets the parent go on.
        pipe.srem(keys.goal_live(member.parent_id), goal_id)
    _record_state(pipe, goal_id, GoalState.CANCELLED, now)
    kept = [name, keys.goal_events(goal_id), keys.goal_journal(goal_id)]
    kept.append(keys.scope_budget(f"goal:{goal_id}"))
    kept += [keys.goal_live(goal_id), keys.goal_members(goal_id)]
    if b"idempotency" in fields:
        kept.append(fields[b"idempotency"].decode())
    for each in kept:
        pipe.expire(each, retention_s)


def _invariant(fields: Mapping[str, str]) -> dict[Any, Any]:
    """Fields as redis-py's types want them: a mapping type there is invariant in its keys."""
    return dict(fields)


def _record_state(pipe: Pipeline, goal_id: str, state: GoalState, now: float) -> None:
    entry = {"kind": GoalEventKind.STATE.value, "at": repr(now), "data": state_event(state)}
    pipe.xadd(keys.goal_events(goal_id), dict(entry.items()), maxlen=1000, approximate=True)
