"""Reading goal records: plain commands, for producers and workers alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import redis

from llmos_workers.contracts.events import GoalEvent
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel import keys
from llmos_workers.kernel.goal_codec import read_event, read_known, read_record
from llmos_workers.kernel.goal_submit import not_found
from llmos_workers.kernel.redis import MAX_BLOCK_MS

Records = list[GoalRecord]
Found = list[GoalRecord | None]
Ids = list[str]


class GoalReads:
    """The reading half of the goal store."""

    def __init__(self, redis: redis.Redis) -> None:
        self._redis = redis

    def get(self, goal_id: str) -> GoalRecord:
        """The whole record, in one round trip. Raises GoalNotFound."""
        fields = cast(dict[bytes, bytes], self._redis.hgetall(keys.goal(goal_id)))
        if not fields:
            raise not_found(goal_id)
        return read_record(goal_id, fields)

    def get_many(self, goal_ids: Sequence[str]) -> Found:
        """Several records in one round trip; None for those that are not there, or are of a
        newer release.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            for goal_id in goal_ids:
                pipe.hgetall(keys.goal(goal_id))
            found = zip(goal_ids, pipe.execute(), strict=True)
            return [read_known(each, fields) if fields else None for each, fields in found]

    def state(self, goal_id: str) -> GoalState:
        """Only the state. Raises GoalNotFound."""
        return GoalState(self._field(goal_id, "state"))

    def outcome(self, goal_id: str) -> Outcome | None:
        """The outcome, None while there is none. Raises GoalNotFound."""
        state, outcome = cast(
            list[bytes | None], self._redis.hmget(keys.goal(goal_id), ["state", "outcome"])
        )
        if state is None:
            raise not_found(goal_id)
        return None if outcome is None else Outcome.model_validate_json(outcome)

    def cancel_requested(self, goal_id: str) -> bool:
        """Whether somebody asked the goal to stop; False for unknown goals."""
        return bool(self._redis.hget(keys.goal(goal_id), "cancel") == b"1")

    def events(
        self, goal_id: str, *, after: str = "0-0", block_ms: int | None = None, count: int = 100
    ) -> list[GoalEvent]:
        """Events after the id ``after``, oldest first; "0-0" starts at the first kept one.

        With ``block_ms`` waits so long for the first, at most MAX_BLOCK_MS: ask again. The
        newest 1,000 or so are kept. Raises GoalNotFound.
        """
        stream = keys.goal_events(goal_id)
        # 0 would wait for ever, and longer than the client's socket timeout looks like a loss.
        block = min(block_ms, MAX_BLOCK_MS) if block_ms else None
        answer = cast(Any, self._redis.xread({stream: after}, count=count, block=block))
        entries = _entries(answer)
        if not entries and not self._redis.exists(keys.goal(goal_id)):
            raise not_found(goal_id)
        return [read_event(goal_id, event_id, fields) for event_id, fields in entries]

    def journal(self, goal_id: str) -> list[bytes]:
        """All journal entries, oldest first."""
        return cast(list[bytes], self._redis.lrange(keys.goal_journal(goal_id), 0, -1))

    def list(
        self, *, project: str | None = None, state: GoalState | None = None, limit: int = 50
    ) -> Records:
        """Goals, newest first: by creation, or by entry into ``state`` when it alone is given."""
        source = keys.GOALS_ALL if state is None else keys.goals_in_state(state)
        if project is not None:
            source = self._smaller(keys.goals_of_project(project), source)
        found: Records = []
        for page in self._pages(source, size=max(limit, 50)):
            records = self.get_many(page)
            self._strike(source, [e for e, r in zip(page, records, strict=True) if r is None])
            found += [
                record
                for record in records
                if record is not None
                and project in (None, record.project)
                and state in (None, record.state)
            ]
            if len(found) >= limit:
                break
        return found[:limit]

    def _strike(self, index: str, goal_ids: Sequence[str]) -> None:
        """Take those off an index that have no record; one of a newer release stays."""
        gone = [each for each in goal_ids if not self._redis.exists(keys.goal(each))]
        if gone:
            self._redis.zrem(index, *gone)

    def _field(self, goal_id: str, name: str) -> str:
        value = cast(bytes | None, self._redis.hget(keys.goal(goal_id), name))
        if value is None:
            raise not_found(goal_id)
        return value.decode()

    def _smaller(self, one: str, other: str) -> str:
        sizes = {name: self._redis.zcard(name) for name in (one, other)}
        return min((one, other), key=sizes.__getitem__)

    def _pages(self, index: str, *, size: int) -> Iterator[Ids]:
        """Ids of a zset, highest score first; entries that go away meanwhile hide none."""
        top, seen = "+inf", set[str]()
        while True:
            entries = cast(
                list[tuple[bytes, float]],
                self._redis.zrevrangebyscore(
                    index, top, "-inf", 0, size + len(seen), withscores=True
                ),
            )
            page = [each.decode() for each, _ in entries if each.decode() not in seen]
            if not page:
                return
            yield page
            last = entries[-1][1]
            seen = {each.decode() for each, score in entries if score == last}
            top = repr(last)


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Entries of the one stream that an XREAD asked for, in either protocol's form."""
    if not answer:
        return []
    if isinstance(answer, Mapping):
        (stream,) = answer.values()
        return cast(list[tuple[bytes, dict[bytes, bytes]]], stream[0])
    return cast(list[tuple[bytes, dict[bytes, bytes]]], answer[0][1])
