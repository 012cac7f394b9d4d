"""The index on a Qdrant server, through qdrant-client over HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from llmos_workers.contracts.base import of_known
from llmos_workers.contracts.errors import IndexUnavailable
from llmos_workers.learning.index import point_id
from llmos_workers.learning.index_contract import IndexEntry, IndexHit

if TYPE_CHECKING:
    from llmos_workers.learning.index_contract import Vector

log = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT_S = 10
BATCH = 256
"""Points of one upsert request."""


class QdrantIndex:
    """References in one collection, created when it is first needed.

    ``client`` replaces the HTTP client (a test's ``QdrantClient(":memory:")``). Thread-safe.
    """

    def __init__(
        self,
        url: str,
        *,
        dim: int,
        collection: str = "llmos-traces",
        api_key: str | None = None,
        client: Any = None,
    ) -> None:
        self._url, self._dim, self._collection, self._key = url, dim, collection, api_key
        self._client = client
        self._lock = threading.Lock()
        self._ready = False

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        """Store references; the same one twice is one point. Returns once they are searchable."""
        models = _models()
        points = [
            models.PointStruct(
                id=point_id(entry.project, entry.trace_id, entry.reference_id),
                vector=[float(value) for value in entry.vector],
                payload={
                    "project": entry.project,
                    "trace_id": entry.trace_id,
                    "reference_id": entry.reference_id,
                    "text": entry.text,
                },
            )
            for entry in entries
        ]
        for start in range(0, len(points), BATCH):
            batch = points[start : start + BATCH]
            self._use(partial(self._write, batch))

    def _write(self, points: list[Any], client: Any) -> None:
        client.upsert(self._collection, points, wait=True)

    def delete(self, project: str, trace_id: str) -> None:
        """Forget all references of a trace."""
        models = _models()
        chosen = models.FilterSelector(filter=_where(project=project, trace_id=trace_id))
        self._use(lambda c: c.delete(self._collection, chosen, wait=True))

    def search(self, vector: Vector, project: str, k: int) -> list[IndexHit]:
        """At most ``k`` references of the project, best first."""
        if k <= 0:
            return []
        models = _models()
        query = [float(value) for value in vector]
        found = self._use(
            lambda c: c.query_points(
                self._collection,
                query=query,
                query_filter=_where(project=project),
                limit=k,
                search_params=models.SearchParams(exact=True),
                with_payload=True,
            )
        )
        return [
            of_known(IndexHit, point.payload, score=float(point.score)) for point in found.points
        ]

    def count(self) -> int:
        """References stored, over all projects."""
        return int(self._use(lambda c: c.count(self._collection, exact=True)).count)

    def clear(self) -> None:
        """Forget everything."""
        models = _models()
        everything = models.FilterSelector(filter=models.Filter())
        self._use(lambda c: c.delete(self._collection, everything, wait=True))

    def close(self) -> None:
        """Close the connections; used again, they are made anew."""
        with self._lock:
            client, self._client, self._ready = self._client, None, False
        if client is not None:
            client.close()

    def _use(self, action: Callable[[Any], T]) -> T:
        _models()
        from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

        try:
            try:
                return action(self._connected())
            except UnexpectedResponse as error:
                if error.status_code != 404:
                    raise
                self._ready = False  # somebody dropped the collection: make it again, once
                return action(self._connected())
        except (ApiException, ValueError) as error:
            raise self._explain(error) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            if not self._ready:
                self._create_collection(self._client)
                self._ready = True
            return self._client

    def _connect(self) -> Any:
        from qdrant_client import QdrantClient

        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise IndexUnavailable(
                f"index.qdrant_url {self._shown()!r} is no http(s) address.",
                fix="Use http://host:6333 or https://host.",
            )
        if (
            self._key
            and parts.scheme == "http"
            and parts.hostname not in ("127.0.0.1", "localhost")
        ):
            log.warning("the Qdrant API key travels unencrypted to %s: use https", parts.hostname)
        # The key goes as a header of ours: given as api_key, the client warns on every
        # construction instead of once in the log.
        return QdrantClient(
            url=self._url,
            port=parts.port or (443 if parts.scheme == "https" else 6333),
            prefer_grpc=False,
            timeout=TIMEOUT_S,
            check_compatibility=False,
            headers={"api-key": self._key} if self._key else None,
        )

    def _create_collection(self, client: Any) -> None:
        models = _models()
        from qdrant_client.http.exceptions import UnexpectedResponse

        if client.collection_exists(self._collection):
            size = getattr(client.get_collection(self._collection).config.params.vectors, "size", 0)
            if size != self._dim:
                raise IndexUnavailable(
                    f"the collection {self._collection} holds vectors of length {size}, not "
                    f"{self._dim}.",
                    fix="Delete it and run `llmos reindex`.",
                )
            return
        try:
            client.create_collection(
                self._collection,
                vectors_config=models.VectorParams(size=self._dim, distance=models.Distance.COSINE),
            )
        except UnexpectedResponse as error:
            if error.status_code != 409:  # 409: another dispatcher was faster
                raise
        for field, tenant in (("project", True), ("trace_id", False)):
            schema = models.KeywordIndexParams(
                type=models.KeywordIndexType.KEYWORD, is_tenant=tenant
            )
            client.create_payload_index(self._collection, field, field_schema=schema, wait=True)

    def _explain(self, error: Exception) -> IndexUnavailable:
        where = f"the Qdrant server at {self._shown()}"
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return IndexUnavailable(
                f"{where} refused the API key ({status}).",
                fix="Check index.qdrant_api_key (LLMOS_INDEX__QDRANT_API_KEY).",
            )
        if status is not None:
            reason = getattr(error, "reason_phrase", "") or "error"
            return IndexUnavailable(
                f"{where} answered {status} {reason}: {_body(error)}",
                fix="See the server's log; once it is well again, nothing is lost.",
            )
        if isinstance(error, ValueError):
            return IndexUnavailable(
                f"{where} does not fit the request: {error}.",
                fix="The embedder may have changed: delete the collection and run `llmos reindex`.",
            )
        return IndexUnavailable(
            f"{where} does not answer: {error}.",
            fix="Start it or correct index.qdrant_url; goals go on with exact matches only.",
        )

    def _shown(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def _models() -> Any:
    """The client's models. Raises IndexUnavailable when its extra is not installed."""
    try:
        from qdrant_client import models
    except ImportError:
        raise IndexUnavailable(
            "index.qdrant_url is set, but qdrant-client is not installed.",
            fix="pip install 'llmos-workers[qdrant]'; without a server the index is embedded.",
        ) from None
    return models


def _where(**equal: str) -> Any:
    models = _models()
    return models.Filter(
        must=[
            models.FieldCondition(key=key, match=models.MatchValue(value=value))
            for key, value in equal.items()
        ]
    )


def _body(error: Exception) -> str:
    content = getattr(error, "content", b"")
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
    return " ".join(text.split())[:200]
