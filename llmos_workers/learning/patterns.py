"""Patterns in sessions: the same kinds of calls in the same order, time and again. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from llmos_workers.contracts.memory import Session
from llmos_workers.contracts.tools import ToolCall

MIN_SESSIONS = 3
"""Goals that have to show the same calls."""
MIN_CALLS = 2
"""One call is no pattern."""
MAX_SHAPE_CHARS = 160

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_FILE = re.compile(r"[\w~.-]*/[\w./~-]*|\b[\w-]+\.[A-Za-z]\w{0,7}\b")


@dataclass(frozen=True)
class TraceCandidate:
    """Calls that several goals made alike and that no trace holds."""

    project: str
    shape: tuple[str, ...]
    goal_ids: tuple[str, ...]
    goals: tuple[str, ...]
    """Their words, for people."""

    @property
    def key(self) -> str:
        """The same calls have the same key: 12 hex digits."""
        return hashlib.sha256("\n".join((self.project, *self.shape)).encode()).hexdigest()[:12]


def call_shape(call: ToolCall) -> str:
    """A call without its values: tool, names of arguments, and of a command its words."""
    parts = []
    for name in sorted(call.arguments):
        value = call.arguments[name]
        if name == "command" and isinstance(value, str):
            value = _QUOTED.sub("_", value)
            value = _NUMBER.sub("0", _FILE.sub("F", " ".join(value.split())))
            parts.append(f"{name}={value}")
        else:
            parts.append(name)
    return f"{call.name}({', '.join(parts)})"[:MAX_SHAPE_CHARS]


def trace_candidates(
    sessions: Iterable[Session],
    traced: Collection[str],
    *,
    least: int = MIN_SESSIONS,
) -> list[TraceCandidate]:
    """Shapes that ``least`` successful sessions of a project share and that no trace holds, those
    that most goals share first. ``traced`` holds the ids of the traces there are; a session that
    followed or became one of them is accounted for.
    """
    held: set[tuple[str, tuple[str, ...]]] = set()
    groups: dict[tuple[str, tuple[str, ...]], dict[str, Session]] = defaultdict(dict)
    for session in sessions:
        shape = session.pattern
        if not session.ok or len(shape) < MIN_CALLS:
            continue
        if session.trace_id in traced and session.trace_id is not None:
            held.add((session.project, shape))
        groups[session.project, shape][session.goal_id] = session
    found = [
        TraceCandidate(
            project,
            shape,
            tuple(sorted(group)),
            tuple(sorted({session.goal for session in group.values()})),
        )
        for (project, shape), group in groups.items()
        if len(group) >= least and (project, shape) not in held
    ]
    return sorted(found, key=lambda one: (-len(one.goal_ids), one.project, one.shape))
