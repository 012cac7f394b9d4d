"""Whether the audit log is whole: every record in its place, and the last one at the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel.gate_files import GateFiles, Unreadable, read_line
from llmos_workers.kernel.gate_log import Entry, GateLog, Head, beginning, link

MAX_FAULTS = 100
"""Faults that are listed; the rest are only counted."""


@dataclass
class Verified:
    """What was found. The log is whole exactly when there are no faults."""

    records: int = 0
    """Records that were read."""
    counts: dict[str, int] = field(default_factory=dict)
    """Decision -> how many."""
    head: Head = field(default_factory=Head)
    faults: list[str] = field(default_factory=list)
    more_faults: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing and nothing was changed."""
        return not self.faults

    def fault(self, words: str) -> None:
        """Note a fault."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(words)
        else:
            self.more_faults += 1


@dataclass
class _Walk:
    """How far a chain was followed."""

    found: Verified
    chain: str
    n: int
    """Number of the last record seen."""
    hash: str | None
    """Its hash; None: unknown, so that the next record cannot be checked against it."""
    at_head: str = ""
    """Hash of the record whose number the head has."""

    def step(self, entry: Entry, where: str) -> None:
        """Check one record against the one before it."""
        if entry.n != self.n + 1:
            self._gap(entry, where)
        if self.hash is not None:
            try:
                right = link(self.hash, entry.text, entry.id) == entry.hash
            except ValueError:
                right = False
            if not right:
                self.found.fault(f"{where}: record {entry.n} is not what was logged")
        self.n, self.hash = max(self.n, entry.n), entry.hash
        if entry.n == self.found.head.n:
            self.at_head = entry.hash
        self.found.records += 1
        try:
            name = entry.decision().record.decision.value
        except ValueError:
            self.found.fault(f"{where}: record {entry.n} makes no sense")
            return
        self.found.counts[name] = self.found.counts.get(name, 0) + 1

    def _gap(self, entry: Entry, where: str) -> None:
        if entry.n <= self.n:
            self.found.fault(f"{where}: record {entry.n} stands behind record {self.n}")
        else:
            gone = f"{self.n + 1}" if entry.n == self.n + 2 else f"{self.n + 1} to {entry.n - 1}"
            self.found.fault(f"{where}: before record {entry.n} are missing: {gone}")
        self.hash = None


def verify(
    gate_log: GateLog,
    files: GateFiles,
    *,
    since: int = 1,
    head: str = "",
    watch: Watch = unwatched,
) -> Verified:
    """Follow every chain from its first record to its head.

    ``since``: number of the first record to look for, where earlier files were moved away.
    ``head``: a hash that was noted down earlier and has to be in the log. Records that come
    meanwhile are no fault.
    """
    found = Verified(head=gate_log.head())
    # Before the files are read: what is moved there meanwhile is seen twice rather than never.
    in_redis = list(gate_log.after())
    noted = {head.lower()} - {""}
    current = _start(found, found.head.chain, since)
    for chain, lines in groupby(_filed(found, files, watch), key=lambda each: each[1].chain):
        is_current = chain == found.head.chain
        walk = current if is_current else _start(found, chain, 1)
        for where, entry in lines:
            walk.step(entry, where)
            noted.discard(entry.hash)
        if not is_current:
            found.fault(
                f"the chain {chain} ends with record {walk.n}, and Redis knows nothing of it: it "
                "lost its data, or was given another"
            )
    if current.n < found.head.filed:
        found.fault(
            f"the files end with record {current.n}, and held {found.head.filed}: they were cut"
        )
    _in_redis(found, current, in_redis, noted)
    if noted:
        found.fault(f"no record has the hash {head}")
    return found


def _start(found: Verified, chain: str, since: int) -> _Walk:
    return _Walk(found, chain, since - 1, beginning(chain) if since == 1 else None)


def _filed(found: Verified, files: GateFiles, watch: Watch) -> Iterator[tuple[str, Entry]]:
    for path in watch("checking the files", files.all()):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path.name}:{number}"
                try:
                    yield where, read_line(line)
                except Unreadable as error:
                    if not line.endswith(b"\n"):
                        continue  # half written by a crash: still in Redis, or missed below
                    found.fault(f"{where}: {error}")


def _in_redis(found: Verified, walk: _Walk, entries: Iterable[Entry], noted: set[str]) -> None:
    """What Redis holds goes on where the files end, and ends at the head or behind it."""
    head = found.head
    for entry in entries:
        if entry.chain != head.chain:
            found.fault(f"redis: record {entry.n} is of another chain, {entry.chain}")
            continue
        if entry.n == walk.n and walk.hash not in (None, entry.hash):
            found.fault(f"redis: record {entry.n} is another one than in the files")
        if entry.n > walk.n:
            walk.step(entry, "redis")
        noted.discard(entry.hash)
    if walk.n < head.n:
        found.fault(f"the log ends with record {walk.n}, and should with {head.n}: it was cut")
    elif head.n and walk.at_head != head.hash:
        found.fault(f"record {head.n} is not the one that the head names")
