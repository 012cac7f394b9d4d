"""Orders to the index: carried out once or twice, never lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import redis

from llmos_workers.contracts.errors import IndexUnavailable
from llmos_workers.kernel import keys
from llmos_workers.learning.index.edge import EdgeIndex
from llmos_workers.learning.index.qdrant import QdrantIndex
from llmos_workers.learning.matching.embedder import Embedding
from llmos_workers.learning.outbox import GROUP, IndexOutbox, ensure_indexed, reindex
from llmos_workers.learning.traces import TraceManager
from tests.learning.conftest import make_trace

DIM = 16


class Hashed:
    """An embedder that needs no model: a text's vector is its digest."""

    name = "hashed"
    dim = DIM

    def embed(self, text: str) -> Embedding:
        digest = hashlib.sha256(text.encode()).digest()[:DIM]
        vector = np.frombuffer(digest, dtype=np.uint8).astype(np.float32) - 128
        return Embedding(vector / np.linalg.norm(vector))

    def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        return [self.embed(text) for text in texts]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[EdgeIndex]:
    made = EdgeIndex(tmp_path / "index", DIM)
    yield made
    made.close()


DOWN = QdrantIndex("http://127.0.0.1:1", dim=DIM)


def found(index: EdgeIndex, text: str, project: str = "default") -> list[str]:
    hits = index.search(Hashed().embed(text).vector, project, 9)
    return [hit.trace_id for hit in hits if hit.score > 0.999]


def test_a_saved_trace_reaches_the_index_with_all_its_wordings(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    stored = manager.save_trace(make_trace("one", aliases=("two", "three")))
    outbox = IndexOutbox(state)
    assert outbox.waiting() == 1
    assert outbox.drain(index, Hashed(), manager) == 1
    assert index.count() == 3
    assert found(index, "two") == [stored.trace_id]
    assert outbox.waiting() == 0
    assert outbox.drain(index, Hashed(), manager) == 0


def test_wordings_taken_back_and_deleted_traces_leave_the_index(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    one = manager.save_trace(make_trace("one", aliases=("two",)))
    other = manager.save_trace(make_trace("other"))
    outbox = IndexOutbox(state)
    outbox.drain(index, Hashed(), manager)
    manager.add_veto("default", one.trace_id, "two")
    manager.remove("default", other.trace_id)
    assert outbox.drain(index, Hashed(), manager) == 2
    assert index.count() == 1
    assert found(index, "one") == [one.trace_id]


def test_orders_stay_while_the_index_is_down(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    for n in range(100):
        manager.save_trace(make_trace(f"goal {n}"))
    outbox = IndexOutbox(state)
    for _ in range(2):
        with pytest.raises(IndexUnavailable):
            outbox.drain(DOWN, Hashed(), manager)
    assert outbox.waiting() == 100
    assert outbox.drain(index, Hashed(), manager) == 100
    assert index.count() == 100


def test_orders_of_a_dead_consumer_are_taken_over(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    manager.save_trace(make_trace("one"))
    with pytest.raises(IndexUnavailable):
        IndexOutbox(state, consumer="dead").drain(DOWN, Hashed(), manager)
    other = IndexOutbox(state, consumer="alive")
    assert other.drain(index, Hashed(), manager) == 0
    assert other.drain(index, Hashed(), manager, claim_after_ms=0) == 1
    assert index.count() == 1
    assert state.xpending(keys.INDEX_OUTBOX, GROUP)["pending"] == 0


def test_carrying_out_an_order_again_changes_nothing(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    stored = manager.save_trace(make_trace("one"))
    outbox = IndexOutbox(state)
    for _ in range(3):
        outbox.put("put", "default", stored.trace_id)
    outbox.put("put", "default", "f" * 16)
    outbox.drain(index, Hashed(), manager)
    assert index.count() == 1


def test_the_index_is_rebuilt_from_the_files_alone(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    manager.save_trace(make_trace("one", project="a", aliases=("two",)))
    manager.save_trace(make_trace("one", project="b"))
    state.flushall()
    index.upsert([])
    manager.scan()
    seen: list[str] = []
    assert reindex(manager, index, Hashed(), on_trace=lambda t: seen.append(t.project)) == 2
    assert index.count() == 3
    assert seen == ["a", "b"]
    assert len(found(index, "one", "a")) == len(found(index, "one", "b")) == 1


def test_an_empty_index_beside_known_traces_is_built_by_itself(
    manager: TraceManager, index: EdgeIndex
) -> None:
    assert ensure_indexed(manager, index, Hashed()) == 0
    manager.save_trace(make_trace("one"))
    assert ensure_indexed(manager, index, Hashed()) == 1
    assert ensure_indexed(manager, index, Hashed()) == 0


def test_an_idle_outbox_costs_one_question(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    command = redis.Redis.execute_command
    monkeypatch.setattr(
        redis.Redis,
        "execute_command",
        lambda self, *args, **kw: asked.append(args[0]) or command(self, *args, **kw),
    )
    assert IndexOutbox(state).drain(index, Hashed(), manager) == 0
    assert asked == ["XLEN"]


def test_the_matcher_finds_what_the_outbox_wrote(
    manager: TraceManager, state: redis.Redis, tmp_path: Path
) -> None:
    from llmos_workers.config import IndexConfig
    from llmos_workers.learning.index import open_index
    from llmos_workers.learning.matching.embedder import load_embedder
    from llmos_workers.learning.matching.matcher import GoalMatcher

    embedder = load_embedder(IndexConfig())
    real = open_index(IndexConfig(), tmp_path / "real", embedder.dim, embedder=embedder.name)
    stored = manager.save_trace(make_trace("Create a Python calculator"))
    manager.save_trace(make_trace("Water the plants"))
    IndexOutbox(state).drain(real, embedder, manager)
    manager.matcher = GoalMatcher(manager, real, embedder)
    matched = manager.matcher.match("create a calculator in python", "default")
    assert matched.best is not None
    assert matched.best.trace_id == stored.trace_id
    assert matched.relatedness > 0.6
    assert manager.find_trace_with_llm("Create a Python calculator") == (stored, 1.0)
    assert matched.best.trace_id not in {
        c.trace_id for c in manager.matcher.match("x", "other").candidates
    }
    real.close()


def test_an_order_to_rebuild_is_carried_out_once(
    manager: TraceManager, state: redis.Redis, index: EdgeIndex
) -> None:
    manager.save_trace(make_trace())
    outbox = IndexOutbox(state)
    outbox.drain(index, Hashed(), manager)
    index.clear()
    outbox.order_rebuild()
    outbox.drain(index, Hashed(), manager)
    assert index.count() == 1
    assert outbox.waiting() == 0
