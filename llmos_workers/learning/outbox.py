"""Writes to the index go through Redis: whoever changes a trace leaves an order, and the
dispatch role, which alone talks to the index, carries it out.

An order names a trace, not its content: what the trace is when the order is carried out decides.
So orders may be carried out twice, late or in any order, and the index still ends up right. An
order is acknowledged only after the index has it; while the index is down the orders wait.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import redis

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel import keys
from llmos_workers.learning.index_contract import IndexEntry, TraceIndex
from llmos_workers.learning.matching.embedder import Embedder
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.signature import goal_signature

log = logging.getLogger(__name__)

GROUP = "index"
BATCH = 64
REBUILD = "rebuild"
"""The order to build the whole index anew; it names no trace."""
CLAIM_AFTER_MS = 30_000
"""An order that a consumer took and did not finish for so long is taken over."""


class TraceShelf(Protocol):
    """What the outbox needs of TraceManager."""

    def get(self, project: str, trace_id: str) -> ExecutionTrace | None:
        """The newest version of a trace."""
        ...

    def list(self, project: str) -> Sequence[ExecutionTrace]:
        """All traces of a project."""
        ...

    def projects(self) -> Sequence[str]:
        """Projects that have traces."""
        ...


class IndexOutbox:
    """The stream of orders. Thread-safe; ``drain`` belongs to the dispatch role."""

    def __init__(self, client: redis.Redis, *, consumer: str | None = None) -> None:
        self._redis = client
        self._consumer = consumer or f"{socket.gethostname()}-{os.getpid()}"

    def put(self, op: str, project: str, trace_id: str) -> None:
        """Order that the index be brought in line with a trace; ``op`` ("put", "delete") is for
        people who read the stream. TraceManager does this by itself.
        """
        self._redis.xadd(keys.INDEX_OUTBOX, {"op": op, "project": project, "trace_id": trace_id})

    def order_rebuild(self) -> None:
        """Order that the index be built anew from all traces."""
        self.put(REBUILD, "", "")

    def waiting(self) -> int:
        """Orders not yet carried out."""
        return int(self._redis.xlen(keys.INDEX_OUTBOX))

    def drain(
        self,
        index: TraceIndex,
        embedder: Embedder,
        traces: TraceShelf,
        *,
        claim_after_ms: int = CLAIM_AFTER_MS,
    ) -> int:
        """Carry out all orders; returns how many. Raises IndexUnavailable; then they stay."""
        if not self.waiting():  # what is done is deleted, so this one question is enough
            return 0
        self._ensure_group()
        done = 0
        for fetch in (self._own, lambda: self._abandoned(claim_after_ms), self._new):
            while orders := fetch():
                self._carry_out(orders, index, embedder, traces)
                done += len(orders)
        return done

    def _carry_out(
        self, orders: Orders, index: TraceIndex, embedder: Embedder, traces: TraceShelf
    ) -> None:
        if any(fields.get(b"op") == REBUILD.encode() for _, fields in orders):
            reindex(traces, index, embedder)
        named = dict.fromkeys(
            (fields[b"project"].decode(), fields[b"trace_id"].decode())
            for _, fields in orders
            if fields.get(b"project") and fields.get(b"trace_id")
        )
        entries: list[IndexEntry] = []
        for project, trace_id in named:
            trace = traces.get(project, trace_id)
            # Wordings that were taken back leave no point behind: first all, then what is.
            index.delete(project, trace_id)
            if trace is not None:
                entries += entries_of(trace, embedder)
        index.upsert(entries)
        ids = [order_id for order_id, _ in orders]
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.xack(keys.INDEX_OUTBOX, GROUP, *ids)
            pipe.xdel(keys.INDEX_OUTBOX, *ids)
            pipe.execute()

    def _own(self) -> Orders:
        """Orders that this consumer took before and could not carry out."""
        return self._read("0")

    def _new(self) -> Orders:
        return self._read(">")

    def _read(self, after: str) -> Orders:
        answer: Any = self._redis.xreadgroup(
            GROUP, self._consumer, {keys.INDEX_OUTBOX: after}, count=BATCH
        )
        if isinstance(answer, dict):  # the third version of the wire protocol
            answer = [(name, entries[0]) for name, entries in answer.items()]
        return [(i, fields or {}) for _, entries in answer or [] for i, fields in entries]

    def _abandoned(self, idle_ms: int) -> Orders:
        """Orders of consumers that died."""
        answer: Any = self._redis.xautoclaim(
            keys.INDEX_OUTBOX, GROUP, self._consumer, min_idle_time=idle_ms, count=BATCH
        )
        return [(i, fields or {}) for i, fields in answer[1]]

    def _ensure_group(self) -> None:
        try:
            self._redis.xgroup_create(keys.INDEX_OUTBOX, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


Orders = list[tuple[bytes, dict[bytes, bytes]]]


def entries_of(trace: ExecutionTrace, embedder: Embedder) -> list[IndexEntry]:
    """A trace's points: its goal and each known wording, embedded as the matcher does."""
    texts = {goal_signature(text): text for text in (trace.goal_text, *trace.aliases)}
    vectors = embedder.embed_many([parse(text).respelled for text in texts.values()])
    return [
        IndexEntry(trace.project, trace.trace_id, signature, text, embedding.vector)
        for (signature, text), embedding in zip(texts.items(), vectors, strict=True)
    ]


def reindex(
    traces: TraceShelf,
    index: TraceIndex,
    embedder: Embedder,
    *,
    on_trace: Callable[[ExecutionTrace], None] | None = None,
) -> int:
    """Build the index anew from the traces; returns how many. Raises IndexUnavailable.

    Run ``TraceManager.scan`` first when Redis may not know the files. Orders that are put
    meanwhile are carried out by the next drain.
    """
    index.clear()
    known = (trace for project in traces.projects() for trace in traces.list(project))
    count = 0
    for batch in _batches(known, BATCH):
        index.upsert([entry for trace in batch for entry in entries_of(trace, embedder)])
        count += len(batch)
        for trace in batch:
            if on_trace:
                on_trace(trace)
    log.info("the index was built anew from %d traces", count)
    return count


def ensure_indexed(traces: TraceShelf, index: TraceIndex, embedder: Embedder) -> int:
    """Build an index that is empty although there are traces: a new disk, a new embedder, a
    server that lost its data. Returns how many traces; 0 when nothing was to do.
    """
    if index.count() or not any(traces.list(project) for project in traces.projects()):
        return 0
    return reindex(traces, index, embedder)


def _batches(items: Iterable[ExecutionTrace], size: int) -> Iterable[list[ExecutionTrace]]:
    batch: list[ExecutionTrace] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
