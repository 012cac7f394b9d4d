"""The vector index behind one interface: embedded (Qdrant Edge) or a Qdrant server.

A copy that can be rebuilt at will (outbox.reindex); the truth is the traces themselves.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from llmos_workers.config import IndexConfig
from llmos_workers.learning.index_contract import TraceIndex

_NAMESPACE = uuid.UUID("5b1f0d0e-8a5c-5c1c-9d52-3f3f6c1d7a10")


def point_id(project: str, trace_id: str, reference_id: str) -> str:
    """The same reference always gets the same point, so that writing it twice is one point."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join((project, trace_id, reference_id))))


def collection_name(config: IndexConfig, dim: int, embedder: str | None = None) -> str:
    """Vectors of different embedders never share a collection."""
    named = embedder or config.embeddings_model
    model = re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")
    return f"llmos-traces-{model or 'embedder'}-{dim}"


def open_index(
    config: IndexConfig, folder: Path, dim: int, *, embedder: str | None = None
) -> TraceIndex:
    """The configured index; connects or opens at its first use.

    ``folder`` holds the embedded index, ``dim`` is the length of the vectors, ``embedder`` its
    name and version (default: the configured model's name). Nothing is touched here, so that
    this may be called before a fork.
    """
    name = collection_name(config, dim, embedder)
    if config.qdrant_url is None:
        from llmos_workers.learning.index.edge import EdgeIndex

        return EdgeIndex(folder / f"{name}-q4", dim)
    from llmos_workers.learning.index.qdrant import QdrantIndex

    key = config.qdrant_api_key
    return QdrantIndex(
        config.qdrant_url,
        dim=dim,
        collection=name,
        api_key=key.get_secret_value() if key else None,
    )
