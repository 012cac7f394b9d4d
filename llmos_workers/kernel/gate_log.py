"""The audit log of the gate: append-only, hash-chained, in Redis first and in files for good.

One script appends a decision and moves the head, so that any number of workers share one chain.
The upkeep role moves what was appended to ``state/audit/`` (gate_files.py). The head stays in
Redis, apart from the records: a log that was cut, thinned out or changed no longer leads to it.
Whoever can write both Redis and the files can write a new chain; against that, keep heads
elsewhere (``llmos gate head``).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from llmos_workers.contracts.errors import BrokerUnavailable, InfrastructureError
from llmos_workers.contracts.gate import GateRecord, LoggedDecision
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.redis import Client

PAGE = 500
"""Records read at once."""


@dataclass(frozen=True)
class Entry:
    """One record in its chain, as stored."""

    chain: str
    id: str
    """``<server's milliseconds>-<number>``."""
    text: str
    """The record as JSON text; the hash is over exactly this."""
    hash: str

    @property
    def n(self) -> int:
        """Number in the chain."""
        return int(self.id.partition("-")[2])

    def decision(self) -> LoggedDecision:
        """For people. Raises ValueError for a record that makes no sense."""
        record = GateRecord.model_validate_json(self.text)
        at = int(self.id.partition("-")[0]) / 1000
        return LoggedDecision(chain=self.chain, n=self.n, at=at, hash=self.hash, record=record)


@dataclass(frozen=True)
class Head:
    """Where the chain ends, and how far it is in the files."""

    chain: str = ""
    n: int = 0
    hash: str = ""
    filed_id: str = ""
    """Stream id of the last record that is in the files; empty: none is."""

    @property
    def filed(self) -> int:
        """How many records are in the files."""
        return int(self.filed_id.partition("-")[2] or 0)


def beginning(chain: str) -> str:
    """What stands before the first record of a chain."""
    return hashlib.sha256(chain.encode()).hexdigest()


def link(before: str, text: str, entry_id: str) -> str:
    """The hash of a record: as the script computes it. Raises ValueError for no digest."""
    digest = hashlib.sha256(text.encode()).digest()
    return hashlib.sha256(bytes.fromhex(before) + digest + entry_id.encode()).hexdigest()


def as_text(record: GateRecord) -> str:
    """A record as it is stored: sorted names, no spaces, nothing that is empty."""
    facts = {name: value for name, value in record.model_dump(mode="json").items() if value != ""}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


class GateLog:
    """Appends decisions, and reads those that are in Redis."""

    def __init__(self, client: Client) -> None:
        self._redis = client

    def append(self, record: GateRecord) -> int:
        """Write a decision; its number in the chain. One round trip.

        Raises BrokerUnavailable without Redis, InfrastructureError when it refuses to write.
        """
        chain = uuid.uuid4().hex
        text = as_text(record)
        names = (keys.GATE_LOG, keys.GATE_HEAD, keys.gate_mark(chain))
        args = (text, hashlib.sha256(text.encode()).hexdigest(), chain, beginning(chain))
        try:
            return int(scripts.load("gate_log").run(self._redis, names, args))
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise BrokerUnavailable("Redis does not answer while a decision is logged.") from error
        except RedisError as error:
            raise InfrastructureError(f"the audit log cannot be written: {error}") from error

    def head(self) -> Head:
        """Where the chain ends now."""
        names = ["chain", "n", "hash", "filed_id"]
        found = cast("list[bytes | None]", self._redis.hmget(keys.GATE_HEAD, names))
        chain, n, last, filed = ((value or b"").decode() for value in found)
        return Head(chain, int(n or 0), last, filed)

    def after(self, entry_id: str = "") -> Iterator[Entry]:
        """The records behind an id, oldest first."""
        start = f"({entry_id}" if entry_id else "-"
        while page := self._page(start, "+"):
            yield from page
            start = f"({page[-1].id}"

    def newest(self) -> Iterator[Entry]:
        """The records in Redis, newest first."""
        end = "+"
        while page := self._page("-", end, newest_first=True):
            yield from page
            end = f"({page[-1].id}"

    def _page(
        self, low: str, high: str, *, newest_first: bool = False, count: int = PAGE
    ) -> list[Entry]:
        if newest_first:
            found = self._redis.xrevrange(keys.GATE_LOG, high, low, count=count)
        else:
            found = self._redis.xrange(keys.GATE_LOG, low, high, count=count)
        return [_entry(each) for each in cast("list[tuple[bytes, dict[bytes, bytes]]]", found)]

    def filed(self, entry_id: str, *, kept: int) -> None:
        """The records up to this id are in the files; about the ``kept`` newest stay here."""
        self._redis.hset(keys.GATE_HEAD, "filed_id", entry_id)
        if self._redis.xlen(keys.GATE_LOG) > 2 * kept:
            oldest = self._page("-", entry_id, newest_first=True, count=kept)[-1]
            self._redis.xtrim(keys.GATE_LOG, minid=oldest.id, approximate=False)


def _entry(found: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    entry_id, fields = found
    text = {name: fields.get(name, b"").decode("utf-8", "replace")
            for name in (b"chain", b"record", b"hash")}  # fmt: skip
    return Entry(text[b"chain"], entry_id.decode(), text[b"record"], text[b"hash"])
