"""The state database as plain data, and back: what a backup holds of Redis.

What changes is read in one script, so that all of it is of one instant: goals under way with their
journals, money in every scope, with its ledger. What does not change any more (records, events and
journals of goals that have ended, old lines of the ledger) is read before, a little at a time, so
that the script is short: nobody else is served while it runs.

Values are data, not the server's own dump, so that any server that llmos runs on takes them. Not
copied is what only says who is at work now: heartbeats, locks, claims, rate buckets. Whatever
expires has as long to live after a restore as it had at the backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Any, cast

import msgpack
import redis

from llmos_workers.contracts.errors import DataError
from llmos_workers.contracts.goal import FINAL_STATES
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import keys, scripts

FORMAT = 1
ALL = f"{keys.ROOT}:*"
LEFT_OUT = (
    keys.heartbeat(""),
    keys.rate(""),
    keys.RECOVERY_LOCK,
    keys.RECOVERY_PAUSE,
    keys.UPKEEP_LOCK,
    keys.SCHEMA,
    keys.generated_claim(""),
    f"{keys.ROOT}:judging:",
)
"""Beginnings of names."""

BATCH = 500
GOALS_AT_ONCE = 100
LINES_AT_ONCE = 500
MOST_BEFORE = 900_000
"""Goals that are read before: the server takes about a million arguments."""

_KINDS = frozenset({"string", "list", "hash", "set", "zset", "stream"})


@dataclass(frozen=True)
class StoredKey:
    """One key with its value, as lua/copy.lua gives it."""

    name: bytes
    kind: str
    life_ms: int
    """Milliseconds to live; -1: for ever."""
    value: Any

    def put(self, pipe: Any) -> None:
        """Write it, in place of nothing."""
        name, value = self.name, self.value
        if self.kind == "string":
            pipe.set(name, value)
        elif self.kind == "stream":
            _put_stream(pipe, name, *value)
        else:
            add = {"list": "RPUSH", "hash": "HSET", "set": "SADD", "zset": "ZADD"}[self.kind]
            for part in _parts(value):
                given = _turned(part) if self.kind == "zset" else part
                pipe.execute_command(add, name, *given)
        if self.life_ms >= 0:
            pipe.pexpire(name, max(1, self.life_ms))


def read_all(client: redis.Redis, watch: Watch = unwatched) -> list[StoredKey]:
    """Everything, at the instant of its end."""
    ended, goal_ids = _ended_goals(client, watch)
    lines = _ledger(client)
    after = lines[-1][0] if lines else b""
    args = [ALL, keys.LEDGER, after, keys.goal(""), len(LEFT_OUT), *LEFT_OUT, *goal_ids]
    live = _read(client, [], args)
    return [*ended, *(_with_lines(key, lines) for key in live)]


def _ended_goals(client: redis.Redis, watch: Watch) -> tuple[list[StoredKey], list[str]]:
    """Record, events and journal of goals that have ended, and their ids."""
    goal_ids = [
        goal_id.decode()
        for state in FINAL_STATES
        for goal_id in cast("list[bytes]", client.zrange(keys.goals_in_state(state), 0, -1))
    ][:MOST_BEFORE]
    found: list[StoredKey] = []
    for start in watch("reading goals", range(0, len(goal_ids), GOALS_AT_ONCE)):
        part = goal_ids[start : start + GOALS_AT_ONCE]
        names = [f(each) for each in part for f in (keys.goal, keys.goal_events, keys.goal_journal)]
        found += _read(client, names, ["", "", ""])
    return found, goal_ids


def _ledger(client: redis.Redis) -> list[Any]:
    """The ledger's lines until now."""
    lines: list[Any] = []
    start = "-"
    while page := cast("Any", client.xrange(keys.LEDGER, min=start, count=LINES_AT_ONCE)):
        lines += [[entry, [x for pair in fields.items() for x in pair]] for entry, fields in page]
        start = f"({page[-1][0].decode()}"
    return lines


def _with_lines(key: StoredKey, lines: list[Any]) -> StoredKey:
    if key.name != keys.LEDGER.encode():
        return key
    last, later = key.value
    return replace(key, value=[last, [*lines, *later]])


def _read(client: redis.Redis, names: list[str], args: list[Any]) -> list[StoredKey]:
    found = scripts.load("copy").run(client, names, args)
    return [StoredKey(name, kind.decode(), int(life), value) for name, kind, life, value in found]


def write_all(client: redis.Redis, stored: Iterable[StoredKey]) -> int:
    """Write keys into a database that has none of them; how many."""
    count = 0
    pipe = client.pipeline(transaction=False)
    for key in stored:
        key.put(pipe)
        count += 1
        if count % BATCH == 0:
            pipe.execute()
    pipe.execute()
    return count


def wipe(client: redis.Redis) -> int:
    """Remove all keys of llmos; how many."""
    count = 0
    for name in client.scan_iter(match=ALL, count=1000):
        count += client.unlink(name)
    return count


def dump(stored: Iterable[StoredKey], file: IO[bytes]) -> int:
    """Write them to a file; how many."""
    packer, count = msgpack.Packer(use_bin_type=True), 0
    file.write(packer.pack({"llmos": "state", "format": FORMAT}))
    for key in stored:
        file.write(packer.pack([key.name, key.kind, key.life_ms, key.value]))
        count += 1
    return count


def load(file: IO[bytes]) -> Iterator[StoredKey]:
    """Read them from a file. Raises DataError for what dump() did not write."""
    unpacker = msgpack.Unpacker(file, raw=False, max_buffer_size=2**31 - 1, strict_map_key=True)
    try:
        head = next(unpacker)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise DataError("the Redis part of the backup has a form that is not known here.")
        for each in unpacker:
            name, kind, life, value = each
            if not name.startswith(f"{keys.ROOT}:".encode()) or kind not in _KINDS:
                raise DataError(f"the backup holds the key {name!r:.80} of type {kind!r:.20}.")
            yield StoredKey(name, kind, life, value)
    except (ValueError, TypeError, AttributeError, StopIteration, msgpack.UnpackException) as error:
        raise DataError(f"the Redis part of the backup cannot be read: {error!r:.200}") from None


def _put_stream(pipe: Any, name: bytes, last: bytes, entries: list[Any]) -> None:
    for entry_id, fields in entries:
        pipe.execute_command("XADD", name, entry_id, *fields)
    if not entries:  # an empty stream stands for its last id
        pipe.execute_command("XADD", name, last, "-", "-")
        pipe.execute_command("XTRIM", name, "MAXLEN", "0")
    pipe.execute_command("XSETID", name, last)


def _parts(value: list[Any], size: int = 1_000) -> Iterator[list[Any]]:
    """An even number of items at a time: pairs stay together."""
    for start in range(0, len(value), size):
        yield value[start : start + size]


def _turned(pairs: list[Any]) -> list[Any]:
    """Members and scores as scores and members."""
    return [part for at in range(0, len(pairs), 2) for part in (pairs[at + 1], pairs[at])]
