from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from llmos_workers.config import IndexConfig
from llmos_workers.contracts.errors import DataError, IndexUnavailable
from llmos_workers.learning.matching.embedder import (
    Embedding,
    EmbeddingCache,
    EndpointEmbedder,
    MiniLMEmbedder,
    bundled_embedder,
    check_digest,
    load_embedder,
)


def test_vectors_have_length_one_and_near_meanings_are_near(embedder: MiniLMEmbedder) -> None:
    cat, kitten, tax = (embedder.embed(t).vector for t in ("a cat", "a kitten", "the tax form"))
    assert cat.shape == (384,)
    assert cat.dtype == np.float32
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > 0.6 > cat @ tax


def test_token_vectors_know_where_their_piece_stands(embedder: MiniLMEmbedder) -> None:
    text = "Größe of  kubernetes"
    pieces = [text[start:end] for start, end, _ in embedder.embed(text).tokens]
    assert "".join(pieces) == text.replace(" ", "")


def test_long_texts_are_cut_not_refused(embedder: MiniLMEmbedder) -> None:
    assert len(embedder.embed("word " * 2_000).tokens) <= 256
    assert embedder.embed("").vector.shape == (384,)


def test_a_vector_does_not_depend_on_its_neighbours(embedder: MiniLMEmbedder) -> None:
    together = embedder.embed_many(["first goal", "another, much longer goal than the first"])
    fresh = MiniLMEmbedder()
    assert np.array_equal(together[0].vector, fresh.embed("first goal").vector)


def test_threads_get_the_same_vectors() -> None:
    fresh = MiniLMEmbedder()
    texts = [f"goal number {n % 7}" for n in range(42)]
    with ThreadPoolExecutor(6) as pool:
        vectors = [e.vector for e in pool.map(fresh.embed, texts)]
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, bundled_embedder().embed(text).vector)


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"another model")
    with pytest.raises(DataError, match="not the pinned file"):
        check_digest(path, "0" * 64)
    with pytest.raises(DataError, match="cannot be read"):
        check_digest(tmp_path / "missing", "0" * 64)


def test_the_cache_forgets_what_was_unused_longest() -> None:
    cache = EmbeddingCache(2)
    made: list[str] = []

    def make(text: str) -> Embedding:
        made.append(text)
        return Embedding(np.zeros(1, np.float32))

    for text in ("a", "b", "a", "c", "a", "b"):
        cache.get(text, make)
    assert made == ["a", "b", "c", "b"]


class Endpoint(BaseHTTPRequestHandler):
    """Answers with [length of text, 1]."""

    requests: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(body)
        rows = [
            {"index": i, "embedding": [float(len(text)), 1.0]}
            for i, text in enumerate(body["input"])
        ]
        broken = body["model"] == "broken"
        answer = json.dumps({"data": [] if broken else rows[::-1]}).encode()
        self.send_response(500 if body["model"] == "down" else 200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Base URL of a small embeddings server."""
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    Endpoint.requests.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_gives_vectors_in_order_and_is_asked_once(endpoint: str) -> None:
    remote = EndpointEmbedder(endpoint, "any")
    first, second = remote.embed_many(["a", "bbb"])
    assert first.vector == pytest.approx([2**-0.5, 2**-0.5])
    assert second.vector[0] > first.vector[0]
    assert first.tokens == ()
    assert remote.dim == 2
    remote.embed("a")
    assert [r["input"] for r in Endpoint.requests] == [["a", "bbb"]]


@pytest.mark.parametrize("model", ["broken", "down"])
def test_an_endpoint_that_gives_no_vectors_is_unavailable(endpoint: str, model: str) -> None:
    with pytest.raises(IndexUnavailable, match="embeddings endpoint"):
        EndpointEmbedder(endpoint, model).embed("a")


def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(IndexUnavailable):
        EndpointEmbedder("http://127.0.0.1:1/v1", "any", timeout_s=1).embed("a")
    with pytest.raises(IndexUnavailable, match="http"):
        EndpointEmbedder("file:///etc/passwd", "any")


def test_the_configuration_chooses_the_backend(endpoint: str) -> None:
    assert load_embedder(IndexConfig()) is bundled_embedder()
    chosen = load_embedder(IndexConfig(embeddings_url=endpoint, embeddings_model="m"))
    assert isinstance(chosen, EndpointEmbedder)
