"""Traces and vectors in memory, where no server is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.index_contract import IndexEntry, IndexHit
from llmos_workers.learning.signature import goal_signature

if TYPE_CHECKING:
    from llmos_workers.learning.index_contract import Vector


class MemoryTraces:
    """A TraceSource over a list."""

    def __init__(self, traces: Sequence[ExecutionTrace]) -> None:
        self._by_id = {(trace.project, trace.trace_id): trace for trace in traces}

    def get(self, project: str, trace_id: str) -> ExecutionTrace | None:
        """The trace of that id."""
        return self._by_id.get((project, trace_id))

    def get_many(self, project: str, trace_ids: Sequence[str]) -> dict[str, ExecutionTrace]:
        """The traces of those ids."""
        found = {trace_id: self._by_id.get((project, trace_id)) for trace_id in trace_ids}
        return {trace_id: trace for trace_id, trace in found.items() if trace is not None}

    def list(self, project: str) -> Sequence[ExecutionTrace]:
        """All traces of a project."""
        return [trace for (name, _), trace in self._by_id.items() if name == project]

    def find_exact(self, project: str, signature: str) -> ExecutionTrace | None:
        """The trace whose goal has the signature, else the one with such a wording."""
        aliased = None
        for trace in self.list(project):
            if signature in trace.vetoes:
                continue
            if goal_signature(trace.goal_text) == signature:
                return trace
            if signature in {goal_signature(text) for text in trace.aliases}:
                aliased = aliased or trace
        return aliased


class MemoryIndex:
    """A TraceIndex that looks at every vector."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], IndexEntry] = {}

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        """See TraceIndex."""
        for entry in entries:
            self._entries[entry.project, entry.trace_id, entry.reference_id] = entry

    def delete(self, project: str, trace_id: str) -> None:
        """See TraceIndex."""
        for key in [key for key in self._entries if key[:2] == (project, trace_id)]:
            del self._entries[key]

    def search(self, vector: Vector, project: str, k: int) -> list[IndexHit]:
        """See TraceIndex."""
        hits = [
            IndexHit(e.project, e.trace_id, e.reference_id, e.text, float(e.vector @ vector))
            for e in self._entries.values()
            if e.project == project
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def count(self) -> int:
        """See TraceIndex."""
        return len(self._entries)

    def clear(self) -> None:
        """See TraceIndex."""
        self._entries.clear()

    def close(self) -> None:
        """Nothing is open."""
