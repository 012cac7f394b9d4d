"""Webhooks: who is configured is told of each goal that ended, at least once.

``collect`` finds ended goals by themselves, in the indexes that every way to an end writes (run,
cancel by a client, dead letter); nobody has to remember to announce one. One delivery per goal
and URL, always under the same id, so that receivers can tell a repetition. A delivery stays on
the list until its receiver took it or it is dead; a sender that dies in between repeats it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.exceptions import WatchError

from llmos_workers.config import WebhooksConfig
from llmos_workers.contracts.errors import NotThere
from llmos_workers.contracts.goal import FINAL_STATES, GoalRecord
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redact import shared
from llmos_workers.kernel.webhook_post import Answer, headers_for, make_body, place, post

log = logging.getLogger(__name__)

OVERLAP_S = 60.0
"""How far looking for ended goals goes back each time: clocks of a fleet differ by less."""
KEPT_S = 7 * 86_400
"""How long a delivery that is not taken, or dead, is kept."""
DONE_KEPT_S = 86_400
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 3_600.0
MAX_DEAD = 1_000
PAGE = 500
GONE = 410
"""The status of a receiver that wants nothing more."""

_NAMESPACE = uuid.UUID("0f5b9a52-6a0c-5d1e-8c1f-2f4f4ad1c0de")


@dataclass(frozen=True)
class Delivered:
    """What one round of sending did."""

    taken: int = 0
    failed: int = 0
    dead: int = 0


class Webhooks:
    """The deliveries in Redis. Does nothing while no URL is configured."""

    def __init__(
        self, redis: redis.Redis, goals: GoalStore, clock: Clock, config: WebhooksConfig
    ) -> None:
        self._redis = redis
        self._goals = goals
        self._clock = clock
        self._config = config
        self._secret = config.secret.get_secret_value() if config.secret else ""
        shared().add(self._secret)
        self._urls = {target_of(url): url for url in config.urls}

    def collect(self, now: float) -> int:
        """Put what ended since the last time on the list; how many deliveries.

        The first time only takes note of the time: goals that ended before webhooks were
        configured are not told.
        """
        if not self._urls:
            self._redis.delete(keys.WEBHOOKS_CURSOR)
            return 0
        cursor = cast(bytes | None, self._redis.get(keys.WEBHOOKS_CURSOR))
        since = now if cursor is None else float(cursor) - OVERLAP_S
        count = 0
        for state in FINAL_STATES if cursor is not None else ():
            index = keys.goals_in_state(state)
            raw = cast(list[bytes], self._redis.zrangebyscore(index, since, "+inf"))
            ids = [each.decode() for each in raw]
            count += sum(self._announce(ids[i : i + PAGE]) for i in range(0, len(ids), PAGE))
        if cursor is None or now > float(cursor):
            self._redis.set(keys.WEBHOOKS_CURSOR, repr(now))
        return count

    def enqueue(self, record: GoalRecord) -> int:
        """Put one ended goal on the list now; how many deliveries were new."""
        return sum(self._add(record, target) for target in self._urls)

    def deliver_due(self, now: float, *, limit: int = 200, budget_s: float = 20.0) -> Delivered:
        """Send what is due at ``now`` (Unix s), for at most ``budget_s`` seconds.

        A receiver that does not answer at all is left alone for the rest of the round.
        """
        due = cast(list[bytes], self._redis.zrangebyscore(keys.WEBHOOKS_DUE, "-inf", now, 0, limit))
        until = self._clock.steady() + budget_s
        silent: set[str] = set()
        taken = failed = dead = 0
        for delivery_id in (each.decode() for each in due):
            if self._clock.steady() >= until:
                break
            answer = self._send(delivery_id, now, silent)
            if answer is None:
                continue
            taken += answer == "taken"
            failed += answer == "failed"
            dead += answer == "dead"
        return Delivered(taken, failed, dead)

    def dead(self, *, limit: int = 100) -> list[dict[str, str]]:
        """Deliveries that were given up, newest first: delivery_id, at (Unix s), goal_id, attempts,
        error, and url without path and query ("" when it is not configured here).
        """
        given_up = cast(
            list[tuple[bytes, float]],
            self._redis.zrevrange(keys.WEBHOOKS_DEAD, 0, limit - 1, withscores=True),
        )
        found = []
        for raw, at in given_up:
            facts = self._read(raw.decode())
            if facts:
                url = self._urls.get(facts.get("target", ""))
                known = {"delivery_id": raw.decode(), "at": repr(at)}
                known |= {name: facts.get(name, "") for name in ("goal_id", "attempts", "error")}
                found.append(known | {"url": place(url) if url else ""})
        return found

    def retry(self, delivery_id: str) -> None:
        """Try a dead delivery again, from its first attempt on. Raises NotThere."""
        name = keys.webhook(delivery_id)
        given_up = self._redis.zscore(keys.WEBHOOKS_DEAD, delivery_id) is not None
        if not given_up or not self._redis.expire(name, KEPT_S):
            self._redis.zrem(keys.WEBHOOKS_DEAD, delivery_id)
            raise NotThere(
                f"there is no dead delivery {delivery_id!r:.60}.", fix="See llmos webhooks list."
            )
        with self._redis.pipeline() as pipe:
            pipe.hset(name, "attempts", "0")
            pipe.zadd(keys.WEBHOOKS_DUE, {delivery_id: self._clock.now()})
            pipe.zrem(keys.WEBHOOKS_DEAD, delivery_id)
            pipe.execute()

    # -- inside ----------------------------------------------------------------------------

    def _announce(self, goal_ids: Sequence[str]) -> int:
        """Add what is missing for these goals. Parts of a plan are told with their goal."""
        pairs = [(goal_id, target) for goal_id in goal_ids for target in self._urls]
        with self._redis.pipeline(transaction=False) as pipe:
            for goal_id, target in pairs:
                pipe.exists(keys.webhook(delivery_id_of(goal_id, target)))
            known = pipe.execute() if pairs else []
        missing = [pair for pair, there in zip(pairs, known, strict=True) if not there]
        wanted = list(dict.fromkeys(goal_id for goal_id, _ in missing))
        found = (r for r in self._goals.get_many(wanted) if r is not None)
        records = {r.goal_id: r for r in found if r.options.member is None}
        return sum(self._add(records[g], target) for g, target in missing if g in records)

    def _add(self, record: GoalRecord, target: str) -> bool:
        delivery_id = delivery_id_of(record.goal_id, target)
        name = keys.webhook(delivery_id)
        facts: dict[Any, Any] = {
            "goal_id": record.goal_id,
            "target": target,
            "attempts": "0",
            "body": make_body(record, delivery_id),
        }
        with self._redis.pipeline() as pipe:
            try:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                if pipe.exists(name):
                    return False
                pipe.multi()
                pipe.hset(name, mapping=facts)
                pipe.expire(name, KEPT_S)
                pipe.zadd(keys.WEBHOOKS_DUE, {delivery_id: self._clock.now()})
                pipe.execute()
            except WatchError:  # somebody else just did
                return False
        return True

    def _send(self, delivery_id: str, now: float, silent: set[str]) -> str | None:
        """One attempt: taken, failed or dead; None when it was not tried."""
        facts = self._read(delivery_id)
        url = self._urls.get(facts.get("target", ""))
        if url is None or "body" not in facts:
            # Expired, or to a URL that is not configured any more: never sent.
            self._redis.zrem(keys.WEBHOOKS_DUE, delivery_id)
            return None
        claim = keys.webhook_claim(delivery_id)
        held_ms = int(self._config.timeout_secs * 3_000) + 30_000
        if url in silent or not self._redis.set(claim, "1", nx=True, px=held_ms):
            return None
        try:
            attempt = int(facts["attempts"]) + 1
            body = facts["body"].encode("utf-8")
            headers = headers_for(
                self._secret, body, delivery_id=delivery_id, attempt=attempt, now=self._clock.now()
            )
            answer = post(url, body, headers, timeout_s=self._config.timeout_secs)
            if answer.unreachable:
                silent.add(url)
            return self._note(delivery_id, answer, attempt, url, now)
        finally:
            self._redis.delete(claim)

    def _note(self, delivery_id: str, answer: Answer, attempt: int, url: str, now: float) -> str:
        name, what = keys.webhook(delivery_id), answer.problem or f"status {answer.status}"
        dead = attempt >= self._config.max_attempts or answer.status == GONE
        with self._redis.pipeline() as pipe:
            pipe.hset(name, mapping={"attempts": str(attempt), "error": "" if answer.ok else what})
            if answer.ok:
                pipe.hdel(name, "body")
                pipe.expire(name, DONE_KEPT_S)
                pipe.zrem(keys.WEBHOOKS_DUE, delivery_id)
            elif dead:
                pipe.zrem(keys.WEBHOOKS_DUE, delivery_id)
                pipe.zadd(keys.WEBHOOKS_DEAD, {delivery_id: now})
                pipe.zremrangebyrank(keys.WEBHOOKS_DEAD, 0, -MAX_DEAD - 1)
            else:
                pause = max(answer.retry_after_s or 0.0, pause_after(attempt))
                pipe.zadd(keys.WEBHOOKS_DUE, {delivery_id: now + pause})
            pipe.execute()
        if answer.ok:
            return "taken"
        end = "given up" if dead else "tried again later"
        log.warning("webhook to %s: %s (attempt %d), %s", place(url), what, attempt, end)
        return "dead" if dead else "failed"

    def _read(self, delivery_id: str) -> dict[str, str]:
        fields = cast(dict[bytes, bytes], self._redis.hgetall(keys.webhook(delivery_id)))
        return {name.decode(): value.decode() for name, value in fields.items()}


def pause_after(attempt: int) -> float:
    """Seconds from the n-th failed attempt to the next: 10, 30, 90, ... an hour, give or take
    a fifth.
    """
    pause = min(FIRST_PAUSE_S * 3.0 ** min(attempt - 1, 20), LONGEST_PAUSE_S)
    return pause * random.uniform(0.8, 1.2)


def delivery_id_of(goal_id: str, target: str) -> str:
    """The id of telling that URL of that goal, however often it is tried."""
    return str(uuid.uuid5(_NAMESPACE, f"{target}\n{goal_id}"))


def target_of(url: str) -> str:
    """A URL's name in Redis; the URL itself may hold a token."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
