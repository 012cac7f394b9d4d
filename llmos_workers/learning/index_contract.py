"""What the matcher needs from whoever keeps traces and vectors. Protocols and plain records only.

One trace has one or more *references*: the goal it was learned from and its known rewordings.
Each reference is one point of the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llmos_workers.contracts.trace import ExecutionTrace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One reference of a trace, ready to be stored."""

    project: str
    trace_id: str
    reference_id: str
    """Unique within the trace; the signature of ``text`` is a good one."""
    text: str
    vector: Vector
    """float32, of length 1 (L2)."""


@dataclass(frozen=True, slots=True)
class IndexHit:
    """One reference that lies near a query."""

    project: str
    trace_id: str
    reference_id: str
    text: str
    score: float
    """Cosine, -1 to 1."""


class TraceIndex(Protocol):
    """Nearest references by cosine. Every method may raise IndexUnavailable."""

    def upsert(self, entries: Sequence[IndexEntry]) -> None:
        """Store references; the same (project, trace_id, reference_id) replaces the old one."""
        ...

    def delete(self, project: str, trace_id: str) -> None:
        """Forget all references of a trace; unknown ones are no error."""
        ...

    def search(self, vector: Vector, project: str, k: int) -> list[IndexHit]:
        """At most ``k`` references of the project, best first."""
        ...

    def count(self) -> int:
        """References stored, over all projects."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class TraceSource(Protocol):
    """Where the matcher reads traces."""

    def find_exact(self, project: str, signature: str) -> ExecutionTrace | None:
        """The trace whose goal or alias has this signature."""
        ...

    def get_many(self, project: str, trace_ids: Sequence[str]) -> dict[str, ExecutionTrace]:
        """The newest versions of traces by id, in one round trip; those there are."""
        ...
