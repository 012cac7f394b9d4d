"""One behaviour for every index; what goes wrong is told as IndexUnavailable with a way out."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import SecretStr

from llmos_workers.config import IndexConfig
from llmos_workers.contracts.errors import IndexUnavailable
from llmos_workers.learning.index import collection_name, open_index, point_id
from llmos_workers.learning.index.edge import EdgeIndex
from llmos_workers.learning.index.qdrant import QdrantIndex
from llmos_workers.learning.index_contract import IndexEntry, TraceIndex

DIM = 8
pytestmark = [  # what the client's in-memory mode says about itself
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


def unit(*weights: float) -> Any:
    vector = np.zeros(DIM, dtype=np.float32)
    vector[: len(weights)] = weights
    return vector / np.linalg.norm(vector)


def entry(
    trace_id: str, *weights: float, project: str = "p", reference: str = "r", text: str = "text"
) -> IndexEntry:
    return IndexEntry(project, trace_id, reference, text, unit(*weights))


@pytest.fixture(params=["edge", "qdrant-client", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TraceIndex]:
    if request.param == "edge":
        made: TraceIndex = EdgeIndex(tmp_path / "index", DIM)
    elif request.param == "qdrant-client":
        made = memory_index()
    else:
        url = os.environ.get("LLMOS_TEST_QDRANT_URL")
        if not url:
            pytest.skip("LLMOS_TEST_QDRANT_URL names no Qdrant server")
        key = os.environ.get("LLMOS_TEST_QDRANT_KEY")
        made = QdrantIndex(url, dim=DIM, collection=f"test-{uuid.uuid4().hex}", api_key=key)
    yield made
    made.clear()
    made.close()


def memory_index() -> QdrantIndex:
    """The client's own in-memory mode stands in for a server behind the same code path."""
    from qdrant_client import QdrantClient

    return QdrantIndex("http://memory:1", dim=DIM, client=QdrantClient(":memory:"))


def test_nearest_first_with_cosine_scores(index: TraceIndex) -> None:
    index.upsert([entry("a", 1), entry("b", 1, 1), entry("c", 0, 1)])
    hits = index.search(unit(1), "p", 2)
    assert [hit.trace_id for hit in hits] == ["a", "b"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert hits[1].score == pytest.approx(2**-0.5, abs=1e-3)


def test_a_hit_carries_what_was_stored(index: TraceIndex) -> None:
    index.upsert([entry("a", 1, reference="r1", text="Größe: 5 €\n---")])
    hit = index.search(unit(1), "p", 5)[0]
    assert (hit.project, hit.trace_id, hit.reference_id) == ("p", "a", "r1")
    assert hit.text == "Größe: 5 €\n---"


def test_projects_never_see_each_other(index: TraceIndex) -> None:
    index.upsert([entry("a", 1, project="p"), entry("a", 1, project="q")])
    assert {hit.project for hit in index.search(unit(1), "p", 9)} == {"p"}
    assert index.search(unit(1), "other", 9) == []
    index.delete("p", "a")
    assert index.search(unit(1), "p", 9) == []
    assert len(index.search(unit(1), "q", 9)) == 1


def test_writing_a_reference_again_replaces_it(index: TraceIndex) -> None:
    index.upsert([entry("a", 1, text="old")])
    index.upsert([entry("a", 0, 1, text="new")])
    assert index.count() == 1
    hits = index.search(unit(0, 1), "p", 5)
    assert [hit.text for hit in hits] == ["new"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)


def test_deleting_takes_all_references_of_a_trace_and_no_other(index: TraceIndex) -> None:
    index.upsert([entry("a", 1, reference="1"), entry("a", 1, 1, reference="2"), entry("b", 1)])
    index.delete("p", "a")
    index.delete("p", "unknown")
    assert [hit.trace_id for hit in index.search(unit(1), "p", 9)] == ["b"]


def test_clear_forgets_everything_and_goes_on(index: TraceIndex) -> None:
    index.upsert([entry(str(n), 1, n) for n in range(20)])
    assert index.count() == 20
    index.clear()
    assert index.count() == 0
    index.upsert([entry("a", 1)])
    assert index.count() == 1


def test_nothing_in_nothing_out(index: TraceIndex) -> None:
    index.upsert([])
    assert index.search(unit(1), "p", 5) == []
    index.upsert([entry("a", 1)])
    assert index.search(unit(1), "p", 0) == []


def test_a_vector_of_another_length_is_refused_in_words(index: TraceIndex) -> None:
    index.upsert([entry("a", 1)])
    with pytest.raises(IndexUnavailable) as caught:
        index.search(np.ones(3, dtype=np.float32), "p", 5)
    assert caught.value.fix


def test_the_rough_first_look_finds_what_an_exact_search_finds(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    dim, count = 64, 3_000
    # Goals of one trade lie close together: thirty to a theme, at cosine .8 of each other.
    themes = chance.normal(size=(count // 30, dim))
    vectors = themes[np.arange(count) % len(themes)] + 0.5 * chance.normal(size=(count, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def entries(numbers: Iterable[int]) -> list[IndexEntry]:
        return [IndexEntry("p", str(n), "r", f"goal {n}", vectors[n]) for n in numbers]

    index = EdgeIndex(tmp_path / "index", dim)
    index.upsert(entries(range(count)))
    index.upsert([entry for n in range(50) for entry in entries([n])])  # replaced one by one
    for number in range(0, 300, 3):
        index.delete("p", str(number))
    index.close()
    kept = np.array([n for n in range(count) if n >= 300 or n % 3])

    index = EdgeIndex(tmp_path / "index", dim)
    found = wanted = 0
    for query in vectors[5::97] + 0.05 * chance.normal(size=(31, dim)).astype(np.float32):
        exact = vectors[kept] @ (query / np.linalg.norm(query))
        best = {str(n) for n in kept[np.argsort(-exact)[:20]]}
        hits = index.search(query, "p", 20)
        found, wanted = found + len(best & {hit.trace_id for hit in hits}), wanted + len(best)
        for hit in hits:  # scores are those of the full vectors, in half precision
            at = int(np.searchsorted(kept, int(hit.trace_id)))
            assert hit.score == pytest.approx(float(exact[at]), abs=2e-3)
    index.close()
    assert found / wanted >= 0.995  # what differs are ties within half precision


def test_threads_lose_nothing(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path / "index", DIM)

    def write(worker: int) -> None:
        for n in range(25):
            index.upsert([entry(f"{worker}-{n}", 1, worker, n)])
            assert index.search(unit(1, worker, n), "p", 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert index.count() == 200
    index.close()


def test_the_embedded_index_is_still_there_after_a_restart(tmp_path: Path) -> None:
    first = EdgeIndex(tmp_path / "index", DIM)
    first.upsert([entry("a", 1)])
    first.close()
    second = EdgeIndex(tmp_path / "index", DIM)
    assert [hit.trace_id for hit in second.search(unit(1), "p", 5)] == ["a"]
    second.close()


def test_projects_stay_apart_after_a_restart(tmp_path: Path) -> None:
    first = EdgeIndex(tmp_path / "shard", DIM)
    first.upsert([entry("a", 1, project="p")])
    assert [hit.trace_id for hit in first.search(unit(1), "p", 9)] == ["a"]
    first.upsert([entry("b", 1, project="q")])
    assert [hit.trace_id for hit in first.search(unit(1), "p", 9)] == ["a"]
    first.close()
    again = EdgeIndex(tmp_path / "shard", DIM)
    assert [hit.trace_id for hit in again.search(unit(1), "q", 1)] == ["b"]
    assert [hit.trace_id for hit in again.search(unit(1), "p", 1)] == ["a"]
    assert again.search(unit(1), "other", 1) == []
    again.close()


def test_an_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from llmos_workers.learning.index.edge import EdgeIndex\n"
        "from llmos_workers.learning.index_contract import IndexEntry\n"
        f"index = EdgeIndex(Path(sys.argv[1]), {DIM})\n"
        f"index.upsert([IndexEntry('p', 'a', 'r', 't', np.ones({DIM}, dtype=np.float32))])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "index")], check=False)
    assert done.returncode == -9
    index = EdgeIndex(tmp_path / "index", DIM)
    assert index.count() == 1
    index.close()


def test_a_second_owner_is_told_who_may_own_it(tmp_path: Path) -> None:
    first, second = EdgeIndex(tmp_path / "index", DIM), EdgeIndex(tmp_path / "index", DIM)
    first.upsert([entry("a", 1)])
    with pytest.raises(IndexUnavailable, match="another process owns") as caught:
        second.count()
    assert "qdrant_url" in caught.value.fix
    first.close()
    assert second.count() == 1
    second.close()


def _count_in_child(index: EdgeIndex, answer: Any) -> None:
    try:
        answer.put(str(index.count()))
    except IndexUnavailable as error:
        answer.put(str(error))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads: the very danger
def test_a_forked_child_is_refused_instead_of_hanging(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path / "index", DIM)
    index.upsert([entry("a", 1)])
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_count_in_child, args=(index, answer))
    child.start()
    try:
        assert "before this process was forked" in answer.get(timeout=20)
    finally:
        child.kill()  # one that hangs in the shard would outlive the test
        child.join(20)
    index.close()


def test_a_folder_that_holds_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.mkdir()
    (path / "edge_config.json").write_text("{broken")
    with pytest.raises(IndexUnavailable, match=str(path)) as caught:
        EdgeIndex(path, DIM).count()
    assert "reindex" in caught.value.fix


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexUnavailable, match="cannot be used"):
        EdgeIndex(tmp_path / "file" / "index", DIM).count()


class Stub(BaseHTTPRequestHandler):
    """Answers like a Qdrant server in trouble."""

    status: ClassVar[int] = 500
    keys: ClassVar[list[str | None]] = []

    def _answer(self) -> None:
        self.keys.append(self.headers.get("api-key"))
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.dumps({"status": {"error": "Service internal error"}, "time": 0.0}).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Stub.keys.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        (401, "refused the API key", "qdrant_api_key"),
        (403, "refused the API key", "qdrant_api_key"),
        (500, "Service internal error", "log"),
        (503, "503", "log"),
        (404, "404", "log"),
    ],
)
def test_what_the_server_answers_is_told(stub: str, status: int, words: str, fix: str) -> None:
    Stub.status = status
    index = QdrantIndex(stub, dim=DIM, api_key="open-sesame")
    with pytest.raises(IndexUnavailable, match=words) as caught:
        index.search(unit(1), "p", 5)
    assert fix in caught.value.fix
    assert "open-sesame" not in str(caught.value)
    assert set(Stub.keys) == {"open-sesame"}
    index.close()


def test_a_server_that_is_not_there_is_told() -> None:
    index = QdrantIndex("http://127.0.0.1:1", dim=DIM)
    with pytest.raises(IndexUnavailable, match="does not answer") as caught:
        index.upsert([entry("a", 1)])
    assert "qdrant_url" in caught.value.fix


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(IndexUnavailable, match="no http"):
        QdrantIndex("qdrant:6333", dim=DIM).count()


def test_the_configuration_chooses_the_index_and_opens_nothing(tmp_path: Path) -> None:
    embedded = open_index(IndexConfig(), tmp_path / "index", 384)
    assert isinstance(embedded, EdgeIndex)
    assert not (tmp_path / "index").exists()
    remote = IndexConfig(qdrant_url="http://127.0.0.1:1", qdrant_api_key=SecretStr("k"))
    assert isinstance(open_index(remote, tmp_path, 384), QdrantIndex)


def test_vectors_of_another_embedder_go_elsewhere() -> None:
    other = IndexConfig(embeddings_model="Nomic/Embed v1.5")
    assert collection_name(other, 768) == "llmos-traces-nomic-embed-v1-5-768"
    assert collection_name(IndexConfig(), 384) != collection_name(other, 384)


def test_point_ids_are_stable_and_apart() -> None:
    assert point_id("p", "t", "r") == point_id("p", "t", "r")
    assert len({point_id("p", "t", "r"), point_id("pt", "", "r"), point_id("p", "tr", "")}) == 3


def test_a_server_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    index = QdrantIndex("http://127.0.0.1:1", dim=DIM)
    for use in (index.count, lambda: index.search(unit(1), "p", 1), lambda: index.upsert([])):
        with pytest.raises(IndexUnavailable, match="not installed") as told:
            use()
        assert "llmos-workers[qdrant]" in str(told.value.fix)
