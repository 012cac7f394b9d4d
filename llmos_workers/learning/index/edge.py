"""The embedded index: one Qdrant Edge shard, owned by one process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llmos_workers.contracts.base import of_known
from llmos_workers.contracts.errors import IndexUnavailable
from llmos_workers.learning.index import point_id
from llmos_workers.learning.index_contract import IndexEntry, IndexHit

if TYPE_CHECKING:
    from llmos_workers.learning.index_contract import Vector

log = logging.getLogger(__name__)
T = TypeVar("T")

OVERSAMPLING = 10.0
"""Vectors that are compared in full for each hit that is asked for, after the rough look at all."""

_ALL_PROJECTS = 1_000_000


class EdgeIndex:
    """References in a shard under ``path``, by cosine, filtered by project. All of them are looked
    at roughly (4 bits a number), the best ones again in half precision: the same neighbours as
    an exact search at a third of its time, without a graph to build.

    Opened at the first use, by whichever thread comes first. A process that inherited an open
    shard by fork would hang in it, so it gets IndexUnavailable instead.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self._path, self._dim = path, dim
        self._lock = threading.Lock()
        self._shard: Any = None
        self._owner_pid = 0
        self._projects: set[str] = set()
        """All that the shard holds, and perhaps some it held."""

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        """Store references; the same one twice is one point."""
        if not entries:
            return
        import qdrant_edge as edge

        points = [
            edge.Point(
                point_id(entry.project, entry.trace_id, entry.reference_id),
                self._checked(entry.vector),
                {
                    "project": entry.project,
                    "trace_id": entry.trace_id,
                    "reference_id": entry.reference_id,
                    "text": entry.text,
                },
            )
            for entry in entries
        ]
        self._open()
        self._projects.update(entry.project for entry in entries)  # first: see search
        self._use("writing", lambda s: s.update(edge.UpdateOperation.upsert_points(points)))

    def delete(self, project: str, trace_id: str) -> None:
        """Forget all references of a trace."""
        import qdrant_edge as edge

        chosen = edge.UpdateOperation.delete_points_by_filter(
            _where(project=project, trace_id=trace_id)
        )
        self._use("deleting", lambda shard: shard.update(chosen))

    def search(self, vector: Vector, project: str, k: int) -> list[IndexHit]:
        """At most ``k`` references of the project, best first."""
        if k <= 0:
            return []
        import qdrant_edge as edge

        values = self._checked(vector)
        self._open()
        request = edge.SearchRequest(
            query=edge.Query.Nearest(values),
            limit=k,
            # Half of a search's time, and for nothing where one project is all there is.
            filter=None if self._projects <= {project} else _where(project=project),
            params=edge.SearchParams(
                quantization=edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
            ),
            with_payload=True,
        )
        found = self._use("searching", lambda shard: shard.search(request))
        hits = (of_known(IndexHit, each.payload, score=float(each.score)) for each in found)
        # Another project's first reference may arrive between the look at the projects and here.
        return [hit for hit in hits if hit.project == project]

    def count(self) -> int:
        """References stored, over all projects."""
        import qdrant_edge as edge

        return int(self._use("counting", lambda shard: shard.count(edge.CountRequest())))

    def clear(self) -> None:
        """Forget everything."""
        import qdrant_edge as edge

        everything = edge.UpdateOperation.delete_points_by_filter(edge.Filter())
        self._use("clearing", lambda shard: shard.update(everything))

    def close(self) -> None:
        """Write everything to disk and let the next owner in. May be opened again by use."""
        with self._lock:
            shard, self._shard = self._shard, None
            if shard is None or self._owner_pid != os.getpid():
                return
            try:
                shard.close()
            except Exception as error:  # noqa: BLE001 - the binding raises nothing narrower
                log.warning("the index at %s did not close cleanly: %s", self._path, error)

    def _checked(self, vector: Vector) -> list[float]:
        values = [float(value) for value in vector]
        if len(values) != self._dim:
            raise IndexUnavailable(
                f"the index holds vectors of length {self._dim}, not {len(values)}.",
                fix="The embedder changed: run `llmos reindex`.",
            )
        return values

    def _use(self, doing: str, action: Callable[[Any], T]) -> T:
        shard = self._open()
        try:
            return action(shard)
        except Exception as error:  # the binding raises nothing narrower than Exception
            raise IndexUnavailable(
                f"{doing} the index at {self._path} failed: {error}.", fix=self._rebuild()
            ) from error

    def _open(self) -> Any:
        with self._lock:
            if self._shard is not None:
                if self._owner_pid != os.getpid():
                    raise IndexUnavailable(
                        "the embedded index was opened before this process was forked.",
                        fix="Open it in the one dispatch worker (threads or solo pool), after "
                        "the fork.",
                    )
                return self._shard
            self._shard, self._owner_pid = self._load(), os.getpid()
            return self._shard

    def _load(self) -> Any:
        try:
            import qdrant_edge as edge
        except ImportError as error:
            raise IndexUnavailable(
                f"the embedded index cannot be loaded: {error}.",
                fix="Install qdrant-edge-py, or set index.qdrant_url to a Qdrant server.",
            ) from error
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(
                size=self._dim,
                distance=edge.Distance.Cosine,
                # Half the bytes, and no different neighbours.
                datatype=edge.VectorStorageDatatype.Float16,
                # What a search reads of every vector: 4 bits a number, an eighth of the bytes.
                quantization_config=edge.TurboQuantQuantizationConfig(
                    bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned
                ),
            )
        )
        try:
            if (self._path / "edge_config.json").exists():
                shard = edge.EdgeShard.load(str(self._path), config)
                self._projects = _projects_in(shard)
                return shard
            self._path.mkdir(parents=True, exist_ok=True)
            return _create(self._path, config)
        except OSError as error:
            raise IndexUnavailable(
                f"the index folder {self._path} cannot be used: {error.strerror or error}.",
                fix="Make it writable for the dispatch worker.",
            ) from error
        except Exception as error:  # the binding raises nothing narrower than Exception
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> IndexUnavailable:
        reason = str(error)
        if "WouldBlock" in reason:
            return IndexUnavailable(
                f"another process owns the embedded index at {self._path}.",
                fix="One dispatch worker may own it. Stop the other one, or set "
                "index.qdrant_url to a Qdrant server for several.",
            )
        return IndexUnavailable(
            f"the index at {self._path} cannot be opened: {reason}.", fix=self._rebuild()
        )

    def _rebuild(self) -> str:
        return f"It is only a copy: delete {self._path} and run `llmos reindex`."


def _create(path: Path, config: Any) -> Any:
    import qdrant_edge as edge

    shard = edge.EdgeShard.create(str(path), config)
    for field in ("project", "trace_id"):
        keyword = edge.PayloadSchemaType.Keyword
        shard.update(edge.UpdateOperation.create_field_index(field, keyword))
    return shard


def _projects_in(shard: Any) -> set[str]:
    """All projects with a reference in the shard."""
    import qdrant_edge as edge

    request = edge.FacetRequest("project", limit=_ALL_PROJECTS, exact=True)
    return {str(hit.value) for hit in shard.facet(request).hits}


def _where(**equal: str) -> Any:
    import qdrant_edge as edge

    return edge.Filter(
        must=[
            edge.FieldCondition(key=key, match=edge.MatchValue(value))
            for key, value in equal.items()
        ]
    )
