"""Schedules: goals that are submitted again and again, kept in Redis.

``tick`` is called by every worker's clock; nothing has to be the only one. A firing becomes a
goal under an idempotency key made of schedule and time of firing, and the schedule moves on
only after that: whoever dies in between, or does the same at the same time, makes no second
goal, and none is left out.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any, cast

import redis
from pydantic import Field, field_validator
from redis.exceptions import WatchError

from llmos_workers.contracts.base import Record
from llmos_workers.contracts.errors import InvalidOption, NotThere, UsageError
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState, check_goal_text
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.clock import Clock, iso
from llmos_workers.kernel.cron import Misfire, due, next_fire, parse_cron, parse_zone
from llmos_workers.kernel.goal_secrets import refuse_secrets
from llmos_workers.kernel.goal_submit import new_record
from llmos_workers.kernel.goals import GoalStore

log = logging.getLogger(__name__)

MAX_SCHEDULES = 10_000


class Schedule(Record):
    """A schedule as it stands. Times are Unix seconds."""

    schedule_id: str
    cron: str
    zone: str = "UTC"
    misfire: Misfire = Misfire.ONCE
    goal: str
    options: GoalOptions = Field(default_factory=GoalOptions)
    created_at: float
    paused: bool = False
    next_at: float | None = None
    """None: paused, or it never fires again."""
    last_at: float | None = None
    last_goal_id: str | None = None
    last_error: str = ""
    """Why the last firing became no goal."""
    fired: int = 0
    """Goals submitted."""

    @field_validator("next_at", "last_at", "last_goal_id", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


Schedules_ = list[Schedule]
Submit = Callable[[Schedule, float], str]
"""Submits the goal of a firing, the same one however often it is asked; its id."""

_FIXED = {"schedule_id", "cron", "zone", "misfire", "goal", "options", "created_at"}


class Schedules:
    """The schedules in Redis, with plain commands only."""

    def __init__(self, redis: redis.Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    def add(
        self,
        cron: str,
        goal: str,
        *,
        options: GoalOptions | None = None,
        zone: str = "UTC",
        misfire: Misfire | str = Misfire.ONCE,
    ) -> Schedule:
        """Keep a new schedule; it fires from now on. Raises InvalidOption, InvalidGoal."""
        if self._redis.zcard(keys.SCHEDULES) >= MAX_SCHEDULES:
            raise InvalidOption(f"there are {MAX_SCHEDULES:,} schedules already.")
        options = options or GoalOptions()
        if options.idempotency_key is not None or options.deadline is not None:
            raise InvalidOption("a schedule's goals take neither idempotency key nor deadline.")
        refuse_secrets(check_goal_text(goal), options.metadata)
        now = self._clock.now()
        made = Schedule(
            schedule_id=secrets.token_hex(5),
            cron=parse_cron(cron),
            zone=zone,
            misfire=parse_misfire(misfire),
            goal=check_goal_text(goal),
            options=options,
            created_at=now,
            next_at=next_fire(parse_cron(cron), parse_zone(zone), now),
        )
        with self._redis.pipeline() as pipe:
            spec = made.model_dump_json(include=_FIXED)
            pipe.hset(keys.schedule(made.schedule_id), mapping={"spec": spec, **_moving(made)})
            pipe.zadd(keys.SCHEDULES, {made.schedule_id: now})
            pipe.zadd(keys.SCHEDULES_DUE, {made.schedule_id: made.next_at or 0.0})
            pipe.execute()
        return made

    def get(self, schedule_id: str) -> Schedule:
        """One schedule. Raises NotThere."""
        fields = cast(dict[bytes, bytes], self._redis.hgetall(keys.schedule(schedule_id)))
        if not fields:
            raise NotThere(
                f"there is no schedule {schedule_id!r:.60}.", fix="See: llmos schedule list"
            )
        return _read(fields)

    def list(self) -> Schedules_:
        """All schedules, oldest first."""
        ids = cast(list[bytes], self._redis.zrange(keys.SCHEDULES, 0, -1))
        with self._redis.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hgetall(keys.schedule(each.decode()))
            return [_read(fields) for fields in (pipe.execute() if ids else []) if fields]

    def remove(self, schedule_id: str) -> Schedule:
        """Forget a schedule; its goals stay. Raises NotThere."""
        gone = self.get(schedule_id)
        with self._redis.pipeline() as pipe:
            pipe.zrem(keys.SCHEDULES, schedule_id)
            pipe.zrem(keys.SCHEDULES_DUE, schedule_id)
            pipe.delete(keys.schedule(schedule_id))
            pipe.execute()
        return gone

    def pause(self, schedule_id: str) -> Schedule:
        """Stop firing until ``resume``. Raises NotThere."""
        return self._change(schedule_id, lambda _: {"paused": True, "next_at": None})

    def resume(self, schedule_id: str) -> Schedule:
        """Fire again, from now on: what fell into the pause was meant to be left out."""

        def again(old: Schedule) -> dict[str, Any]:
            after = max(self._clock.now(), old.last_at or 0.0)
            following = next_fire(old.cron, parse_zone(old.zone), after)
            return {"paused": False, "next_at": following} if old.paused else {}

        return self._change(schedule_id, again)

    def tick(self, now: float, submit: Submit, *, limit: int = 100) -> int:
        """Submit what is due at ``now``, at most ``limit`` goals, the longest due first; how
        many. What a schedule itself is to blame
        for (an agent that is gone) is kept as its ``last_error``. Raises BrokerUnavailable and
        Redis's own errors: the firing is then still due.
        """
        due_now = self._redis.zrangebyscore(keys.SCHEDULES_DUE, "-inf", now, 0, limit)
        ids = cast(list[bytes], due_now)
        count = 0
        for schedule_id in (each.decode() for each in ids):
            fields = cast(dict[bytes, bytes], self._redis.hgetall(keys.schedule(schedule_id)))
            if not fields:
                self._redis.zrem(keys.SCHEDULES_DUE, schedule_id)
                continue
            count += self._fire(_read(fields), now, submit, limit - count)
            if count >= limit:
                break
        return count

    # -- inside ----------------------------------------------------------------------------

    def _fire(self, schedule: Schedule, now: float, submit: Submit, most: int) -> int:
        if schedule.paused or schedule.next_at is None:
            return 0
        waited_for = schedule.next_at
        zone = parse_zone(schedule.zone)
        moments, following = due(schedule.cron, zone, schedule.misfire, waited_for, now, most=most)
        changes: dict[str, Any] = {"next_at": following, "last_error": ""}
        submitted = 0
        for moment in moments:
            try:
                changes |= {"last_goal_id": submit(schedule, moment), "last_at": moment}
                submitted += 1
            except UsageError as error:
                log.warning("schedule %s: %s", schedule.schedule_id, error)
                changes["last_error"] = error.message[:500]

        def moved(old: Schedule) -> dict[str, Any]:
            # Another worker may have done the same, or somebody paused it meanwhile.
            if old.paused or old.next_at != waited_for:
                return {}
            return changes | {"fired": old.fired + submitted}

        try:
            self._change(schedule.schedule_id, moved)
        except NotThere:
            log.info("schedule %s was removed while it fired", schedule.schedule_id)
        return submitted

    def _change(self, schedule_id: str, change: Callable[[Schedule], dict[str, Any]]) -> Schedule:
        """Apply a change to what stands now, atomically; the schedule after it."""
        name = keys.schedule(schedule_id)
        while True:
            with self._redis.pipeline() as pipe:
                try:
                    pipe.watch(name)  # type: ignore[no-untyped-call]
                    old = self.get(schedule_id)
                    changes = change(old)
                    if not changes:
                        return old
                    new = old.model_copy(update=changes)
                    pipe.multi()
                    pipe.hset(name, mapping=_moving(new))
                    if new.next_at is None:
                        pipe.zrem(keys.SCHEDULES_DUE, schedule_id)
                    else:
                        pipe.zadd(keys.SCHEDULES_DUE, {schedule_id: new.next_at})
                    pipe.execute()
                except WatchError:
                    continue
                return new


def submitter(goals: GoalStore, broker: redis.Redis, clock: Clock) -> Submit:
    """The way a worker submits: record first, message then, as the client does."""

    def submit(schedule: Schedule, moment: float) -> str:
        goal = goal_of(schedule, moment, now=clock.now())
        record, _ = goals.create(goal)
        if record.state is GoalState.ACCEPTED:
            wire.publish(broker, [record])
        return record.goal_id

    return submit


def goal_of(schedule: Schedule, moment: float, *, now: float) -> GoalRecord:
    """The goal of one firing: always the same id."""
    named = {"schedule": schedule.schedule_id, "fire_at": iso(moment)}
    options = schedule.options.model_copy(
        update={
            "idempotency_key": f"schedule:{schedule.schedule_id}:{int(moment)}",
            "metadata": {**schedule.options.metadata, **named},
        }
    )
    return new_record(schedule.goal, options, now=now)


def parse_misfire(policy: Misfire | str) -> Misfire:
    """A misfire policy by its name. Raises InvalidOption."""
    try:
        return Misfire(policy)
    except ValueError:
        known = ", ".join(each.value for each in Misfire)
        raise InvalidOption(f"unknown misfire policy {policy!r}.", fix=f"Known: {known}.") from None


def _moving(schedule: Schedule) -> dict[Any, Any]:
    """What changes in a schedule's life, as hash fields."""
    moving = set(Schedule.model_fields) - _FIXED
    facts = schedule.model_dump(mode="json", include=moving)
    return {
        k: "" if v is None else repr(v) if isinstance(v, float) else str(v)
        for k, v in facts.items()
    }


def _read(fields: dict[bytes, bytes]) -> Schedule:
    known = {name.decode(): value.decode() for name, value in fields.items()}
    spec = Schedule.model_validate_json(known.pop("spec"))
    return Schedule.model_validate(spec.model_dump() | known)
