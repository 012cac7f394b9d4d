"""What became of generated tools: why one is out of use, and when making one was last tried.

Notes only: whether a trace uses a tool, the trace says.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import cast

import redis

from llmos_workers.contracts.base import of_known
from llmos_workers.kernel import keys


@dataclass(frozen=True)
class ToolNote:
    """Why a tool is out of use."""

    status: str
    """``demoted``: it failed. ``disabled``: a person said so."""
    why: str
    at: float
    """Unix seconds."""


@dataclass(frozen=True)
class Attempt:
    """The last try to make a tool of a trace."""

    version: int
    """Of the trace."""
    uses: int
    """The trace's count of uses then."""
    result: str
    """The tool, or why there is none."""
    made: bool
    at: float
    """Unix seconds."""


class GeneratedNotes:
    """Small records in Redis; methods raise redis errors as they come."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def put_out(self, ref: str, note: ToolNote) -> None:
        """Say why a tool is out of use."""
        self._redis.hset(keys.GENERATED_NOTES, ref, json.dumps(asdict(note)))

    def back(self, ref: str) -> None:
        """It is in use again."""
        self._redis.hdel(keys.GENERATED_NOTES, ref)

    def notes(self) -> dict[str, ToolNote]:
        """All notes, by tool."""
        found = cast(dict[bytes, bytes], self._redis.hgetall(keys.GENERATED_NOTES))
        return {ref.decode(): of_known(ToolNote, json.loads(text)) for ref, text in found.items()}

    def tried(self, project: str, trace_id: str, attempt: Attempt) -> None:
        """Note a try."""
        field = f"{project}/{trace_id}"
        self._redis.hset(keys.GENERATED_ATTEMPTS, field, json.dumps(asdict(attempt)))

    def attempts(self) -> dict[tuple[str, str], Attempt]:
        """The last try for each (project, trace id)."""
        found = cast(dict[bytes, bytes], self._redis.hgetall(keys.GENERATED_ATTEMPTS))
        tries = {}
        for field, text in found.items():
            project, _, trace_id = field.decode().partition("/")
            tries[project, trace_id] = of_known(Attempt, json.loads(text))
        return tries

    def claim(self, what: str, seconds: float) -> bool:
        """Whether the caller may do it: nobody else has claimed it within these seconds."""
        return bool(self._redis.set(keys.generated_claim(what), 1, nx=True, px=int(seconds * 1000)))

    def round(self) -> int:
        """A number that no try has had."""
        return self._redis.incr(keys.GENERATED_ROUNDS)
