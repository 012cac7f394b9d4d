"""The bundled embedder, loaded once, and a brute-force index for the matcher's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.learning.index_contract import IndexEntry, IndexHit
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import (
    Embedding,
    MiniLMEmbedder,
    Vector,
    bundled_embedder,
)
from llmos_workers.learning.signature import goal_signature


@pytest.fixture(scope="session")
def embedder() -> MiniLMEmbedder:
    """The shipped model."""
    return bundled_embedder()


FOLLOW = 0.92


def confidence(one: str, other: str) -> float:
    """What structure alone says of two goals that are near each other."""
    return compare(one, other, _no_embedding, cosine=0.95).confidence


def _no_embedding(_text: str) -> Embedding:
    raise AssertionError("a known cosine needs no embedding")


def step(tool: str = "Bash", **arguments: Any) -> TraceStep:
    """One recorded call."""
    return TraceStep(call=ToolCall(name=tool, arguments=arguments))


def trace_of(
    goal: str, *steps: TraceStep, slots: Sequence[Slot] = (), **more: Any
) -> ExecutionTrace:
    """A trace learned from ``goal``."""
    signature = goal_signature(goal)
    fields = {"trace_id": signature, "goal_signature": signature, "goal_text": goal}
    return ExecutionTrace(**fields, steps=steps or (step(),), slots=tuple(slots), **more)


class BruteIndex:
    """Exact search over a list."""

    def __init__(self) -> None:
        self.entries: list[IndexEntry] = []

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        self.entries += entries

    def delete(self, project: str, trace_id: str) -> None:
        self.entries = [e for e in self.entries if (e.project, e.trace_id) != (project, trace_id)]

    def search(self, vector: Vector, project: str, k: int) -> list[IndexHit]:
        hits = [
            IndexHit(e.project, e.trace_id, e.reference_id, e.text, float(e.vector @ vector))
            for e in self.entries
            if e.project == project
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def count(self) -> int:
        return len(self.entries)

    def clear(self) -> None:
        self.entries = []

    def close(self) -> None:
        pass


class Shelf:
    """Traces in memory, with their references in an index."""

    def __init__(self, embedder: MiniLMEmbedder) -> None:
        self.index = BruteIndex()
        self._embedder = embedder
        self._traces: dict[tuple[str, str], ExecutionTrace] = {}

    def add(self, trace: ExecutionTrace) -> ExecutionTrace:
        self._traces[trace.project, trace.trace_id] = trace
        for text in (trace.goal_text, *trace.aliases):
            vector = self._embedder.embed(text).vector
            entry = IndexEntry(trace.project, trace.trace_id, goal_signature(text), text, vector)
            self.index.upsert([entry])
        return trace

    def find_exact(self, project: str, signature: str) -> ExecutionTrace | None:
        for trace in self._traces.values():
            known = {trace.goal_signature, *map(goal_signature, trace.aliases)}
            if trace.project == project and signature in known:
                return trace
        return None

    def get_many(self, project: str, trace_ids: Sequence[str]) -> dict[str, ExecutionTrace]:
        known = {key: self._traces.get((project, key)) for key in trace_ids}
        return {key: trace for key, trace in known.items() if trace is not None}


@pytest.fixture
def shelf(embedder: MiniLMEmbedder) -> Shelf:
    """An empty shelf."""
    return Shelf(embedder)
