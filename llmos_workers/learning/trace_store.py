"""The Redis side of a trace: its record, its wordings, its exact counters.

The record's hash holds the content (msgpack), where its file is and that file's stamp, and the
counters as fields of their own, so that any number of workers count exactly.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import redis

from llmos_workers.contracts.errors import DataError, LeaseLost
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.codec import pack, unpack
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.signing import KeyRing, Trust
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_fields import COUNTERS
from llmos_workers.learning.trace_seal import judged

COUNTED_SECS = 7 * 86_400
"""How long a counted outcome is remembered, in seconds."""

EVIDENCE = "evidence:"
"""Before the names of the counters of labelled outcomes."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """A trace as Redis holds it, with where its file is."""

    trace: ExecutionTrace
    """Content with the counters merged in."""
    revision: int
    path: str
    """Of the Markdown file, relative to the workspace."""
    stamp: str
    """The file's modification time and size when it was last read or written."""
    staged: str
    """Path of the staged file that was to become ``path``; "" when there was none."""
    flushed: int
    """Uses that the file's front matter knows of."""


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A record's bytes, the keys that were trusted, and the trace that came of both."""

    content: bytes
    trust: str
    trace: ExecutionTrace


class Conflict(Exception):
    """Somebody else wrote the record meanwhile."""


class TraceStore:
    """Reads and writes trace records. Raises redis errors as they come."""

    def __init__(self, client: redis.Redis, keys: KeyRing, *, cache_size: int = 100) -> None:
        """``keys`` say what the traces' signatures are worth."""
        self._redis, self._keys = client, keys
        self._cache: OrderedDict[tuple[str, str], _Parsed] = OrderedDict()
        self._cache_size, self._lock = cache_size, Lock()

    def get(self, project: str, trace_id: str) -> TraceRecord | None:
        """One round trip."""
        fields: Any = self._redis.hgetall(keys.trace(project, trace_id))
        return self._record(project, trace_id, fields, self._keys.trust_now())

    def by_signature(self, project: str, signature: str) -> TraceRecord | None:
        """Whose goal or alias has the signature; one round trip, two for an alias.

        A trace is stored under the signature it was learned from, so the likely record is
        fetched along with the wording.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(keys.trace_wordings(project), signature)
            pipe.hgetall(keys.trace(project, signature))
            owner, fields = pipe.execute()
        if owner is None:
            return None
        trace_id = owner.decode()
        if trace_id == signature:
            return self._record(project, trace_id, fields, self._keys.trust_now())
        return self.get(project, trace_id)

    def many(self, project: str, trace_ids: Sequence[str]) -> list[TraceRecord]:
        """The records there are, in order; one round trip."""
        with self._redis.pipeline(transaction=False) as pipe:
            for trace_id in trace_ids:
                pipe.hgetall(keys.trace(project, trace_id))
            answers = pipe.execute()
        trust = self._keys.trust_now()
        rows = zip(trace_ids, answers, strict=True)
        found = (self._record(project, trace_id, fields, trust) for trace_id, fields in rows)
        return [record for record in found if record is not None]

    def ids(self, project: str) -> list[str]:
        """Trace ids of a project, sorted."""
        members: Any = self._redis.smembers(keys.trace_ids(project))
        return sorted(member.decode() for member in members)

    def projects(self) -> list[str]:
        """Projects that ever had a trace, sorted."""
        members: Any = self._redis.smembers(keys.TRACE_PROJECTS)
        return sorted(member.decode() for member in members)

    def commit(
        self,
        record: TraceRecord,
        *,
        before: TraceRecord | None,
        lease: Lease | None = None,
        index: bool = True,
        counters: bool = False,
        healed: bool = False,
    ) -> None:
        """Write content, wordings and the index's order in one atomic step.

        ``counters`` seeds them from the trace (a record that was not there before), ``healed``
        ends a streak of failures. Raises Conflict when the record is no longer ``before``, and
        LeaseLost when the run no longer holds its goal.
        """
        trace = record.trace
        # Without defaults, as the signature: a field that a release added and this trace does not
        # use is no reason for an older one to keep away from it.
        content = trace.model_dump(mode="python", exclude=set(COUNTERS), exclude_defaults=True)
        fields: dict[str, Any] = {
            "content": pack(content),
            "revision": record.revision,
            "version": trace.version,
            "path": record.path,
            "stamp": record.stamp,
            "staged": record.staged,
            "flushed": record.flushed,
        }
        if counters:
            fields |= _counter_fields(trace)
        if healed:
            fields["failure_streak"] = 0
            # Other calls: what was wrong with the old ones says nothing of them.
            if before and not same_calls(before.trace, trace):
                names = (n for n in before.trace.evidence if n.endswith("exact"))
                fields |= {EVIDENCE + name: 0 for name in names}
        own, aliases = goal_signature(trace.goal_text), _signatures(trace.aliases)
        dropped = set(_wordings(before.trace)) - {own, *aliases} if before else set[str]()
        pairs = [part for pair in fields.items() for part in pair]
        args = [
            "" if before is None else before.revision,
            lease.fence if lease else "",
            lease.owner if lease else "",
            "index" if index else "",
            own,
            len(fields),
            len(aliases),
            len(dropped),
        ]
        self._redis.sadd(keys.TRACE_PROJECTS, trace.project)
        answer = self._run(
            "commit", trace, [*args, *pairs, *aliases, *sorted(dropped)], lease=lease
        )
        if answer == b"fence":
            raise LeaseLost("the run lost its lease before its trace was stored.")
        if answer != b"ok":
            raise Conflict

    def forget(self, record: TraceRecord) -> None:
        """Remove a record, its wordings and its place in the index. Raises Conflict."""
        args = [record.revision, *_wordings(record.trace)]
        if self._run("forget", record.trace, args) != b"ok":
            raise Conflict

    def count(
        self,
        project: str,
        trace_id: str,
        *,
        success: bool,
        cost_micro: int,
        saved_micro: int,
        latency_ms: float,
        at: str,
        outcome: str | None,
        lease: Lease | None,
    ) -> bool:
        """Count one use, once for each ``outcome``. False: no such trace, or counted before.

        With a lease raises LeaseLost when it is lost; then nothing is counted.
        """
        once = keys.trace_counted(project, trace_id, outcome or uuid.uuid4().hex)
        latency_us = round(latency_ms * 1_000)
        fence, owner = (lease.fence, lease.owner) if lease else ("", "")
        goal = keys.goal(lease.goal_id) if lease else keys.NO_GOAL
        counted = scripts.load("traces", include=("fence",)).run(
            self._redis,
            [keys.trace(project, trace_id), *_shared_keys(project), goal, once],
            ["count", project, trace_id, int(success), cost_micro, saved_micro, latency_us, at,
             COUNTED_SECS if outcome else 60, fence, owner],
        )  # fmt: skip
        if counted == b"fence":
            raise LeaseLost("the run lost its lease before its replay was counted.")
        return bool(counted == b"ok")

    def label(
        self, project: str, trace_id: str, field: str, *, once: str, lease: Lease | None = None
    ) -> bool:
        """Add one labelled outcome. False: no such trace, or ``once`` was counted before. Raises
        LeaseLost.
        """
        counted = scripts.load("traces", include=("fence",)).run(
            self._redis,
            [keys.trace(project, trace_id), *_shared_keys(project),
             keys.goal(lease.goal_id) if lease else keys.NO_GOAL,
             keys.trace_counted(project, trace_id, once)],
            ["label", project, trace_id, EVIDENCE + field, COUNTED_SECS,
             lease.fence if lease else "", lease.owner if lease else ""],
        )  # fmt: skip
        if lease and counted == b"fence":
            raise LeaseLost(f"the run of goal {lease.goal_id} lost its lease.")
        return bool(counted == b"ok")

    def _run(
        self, op: str, trace: ExecutionTrace, args: Iterable[Any], *, lease: Lease | None = None
    ) -> Any:
        return scripts.load("traces", include=("fence",)).run(
            self._redis,
            [
                keys.trace(trace.project, trace.trace_id),
                *_shared_keys(trace.project),
                keys.goal(lease.goal_id) if lease else keys.NO_GOAL,
                keys.NO_GOAL,
            ],
            [op, trace.project, trace.trace_id, *args],
        )

    def _record(
        self, project: str, trace_id: str, fields: dict[bytes, bytes], trust: Trust
    ) -> TraceRecord | None:
        content = fields.get(b"content")
        if content is None:
            return None
        trace = self._parsed(project, trace_id, content, trust)
        return TraceRecord(
            trace=trace.model_copy(update=_counters(fields)),
            revision=int(fields[b"revision"]),
            path=fields[b"path"].decode(),
            stamp=fields[b"stamp"].decode(),
            staged=fields[b"staged"].decode(),
            flushed=int(fields[b"flushed"]),
        )

    def _parsed(self, project: str, trace_id: str, content: bytes, trust: Trust) -> ExecutionTrace:
        """Parse the content and check its signature, or take it from the cache when the very
        same bytes are there and the same keys are trusted.
        """
        key = (project, trace_id)
        with self._lock:
            cached = self._cache.get(key)
            if cached is not None and (cached.content, cached.trust) == (content, trust.stamp):
                self._cache.move_to_end(key)
                return cached.trace
        trace = ExecutionTrace.model_validate(unpack(content))
        if (trace.project, trace.trace_id) != key:
            raise DataError(f"the record of trace {trace_id} of project {project} is another's.")
        trace = judged(trace, trust)
        with self._lock:
            self._cache[key] = _Parsed(content, trust.stamp, trace)
            self._cache.move_to_end(key)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return trace


def same_calls(one: ExecutionTrace, other: ExecutionTrace) -> bool:
    """Whether two traces make the very same calls in the same order."""
    return [s.call.digest() for s in one.steps] == [s.call.digest() for s in other.steps]


def _shared_keys(project: str) -> list[str]:
    return [
        keys.trace_ids(project),
        keys.trace_wordings(project),
        keys.INDEX_OUTBOX,
        keys.epoch("traces"),
    ]


def _signatures(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(goal_signature(text) for text in texts))


def _wordings(trace: ExecutionTrace) -> list[str]:
    return _signatures((trace.goal_text, *trace.aliases))


def _counter_fields(trace: ExecutionTrace) -> dict[str, Any]:
    return {
        "usage_count": trace.usage_count,
        "success_count": trace.success_count,
        "failure_streak": trace.failure_streak,
        "total_cost_micro": trace.total_cost_micro,
        "total_saved_micro": trace.total_saved_micro,
        "latency_us": round(trace.avg_latency_ms * 1_000 * trace.usage_count),
        "last_used": trace.last_used,
        **{EVIDENCE + name: count for name, count in trace.evidence.items()},
    }


def _counters(fields: dict[bytes, bytes]) -> dict[str, Any]:
    def number(name: bytes) -> int:
        return int(fields.get(name, 0))

    uses = number(b"usage_count")
    return {
        "usage_count": uses,
        "success_count": number(b"success_count"),
        "failure_streak": number(b"failure_streak"),
        "total_cost_micro": number(b"total_cost_micro"),
        "total_saved_micro": number(b"total_saved_micro"),
        "avg_latency_ms": number(b"latency_us") / uses / 1_000 if uses else 0.0,
        "last_used": fields.get(b"last_used", b"").decode(),
        "evidence": {
            name.decode().removeprefix(EVIDENCE): int(count)
            for name, count in sorted(fields.items())
            if name.startswith(EVIDENCE.encode()) and int(count)
        },
    }
