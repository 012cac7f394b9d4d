"""Search over what is remembered: sessions (L2), traces (L3), facts and insights (L4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.memory import Level, MemoryHit, Session
from llmos_workers.execution.tools.search_engine import words
from llmos_workers.learning.memory_files import FileMemory
from llmos_workers.learning.sessions import Sessions
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.learning.trace_seal import objection, taint_objection
from llmos_workers.learning.traces import TraceManager

MAX_SESSIONS = 500
"""So many sessions of a project are looked at, the newest."""
SHOWN_CHARS = 300


@dataclass(frozen=True)
class _Found:
    hit: MemoryHit
    words: Counter[str]


class MemorySearch:
    """Finds by words, the rarest counting most. Reads one project, and what is told to all."""

    def __init__(self, sessions: Sessions, traces: TraceManager, notes: FileMemory) -> None:
        self._sessions, self._traces, self._notes = sessions, traces, notes

    def search(
        self, project: str, query: str, *, levels: Iterable[Level] = tuple(Level), limit: int = 10
    ) -> list[MemoryHit]:
        """At most ``limit`` hits, best first; without a query the newest. Raises BrokerUnavailable
        where traces are searched.
        """
        found = [each for level in levels for each in self._all(project, level)]
        asked = set(words(query))
        if not asked:
            return sorted((f.hit for f in found), key=lambda h: (h.at, h.name), reverse=True)[
                :limit
            ]
        holding = Counter(word for each in found for word in each.words)
        rarity = {word: math.log(1 + len(found) / count) for word, count in holding.items()}
        hits = []
        for each in found:
            score = sum(rarity[word] for word in sorted(asked & set(each.words)))
            if score > 0:
                hits.append(each.hit.model_copy(update={"score": round(score, 4)}))
        return sorted(hits, key=lambda hit: (-hit.score, hit.level, hit.name))[:limit]

    def _all(self, project: str, level: Level) -> Sequence[_Found]:
        match level:
            case Level.SESSIONS:
                return [_session(one) for one in self._sessions.newest(project, limit=MAX_SESSIONS)]
            case Level.TRACES:
                return [
                    _found(
                        Level.TRACES,
                        trace.trace_id,
                        "; ".join((trace.goal_text, *trace.aliases[:3], trace.output_summary)),
                        at=trace.created_at,
                        tainted=bool(taint_objection(trace) or objection(trace)),
                    )
                    for trace in self._traces.list(project)
                ]
            case Level.NOTES:
                return [
                    _found(
                        Level.NOTES,
                        note.path,
                        note.text,
                        at=str(note.fields.get("noted", "")),
                        tainted=note.tainted,
                    )
                    for note in self._notes.notes(project)
                ]


def _session(session: Session) -> _Found:
    failed = "; ".join(f"{step.tool} failed: {step.error}" for step in session.steps if not step.ok)
    told = (f"{session.status}: {session.goal}", session.error, failed, session.answer)
    text = " | ".join(filter(None, told))
    at, tainted = session.at, session.tainted
    return _found(Level.SESSIONS, session.goal_id, text, at=at, tainted=tainted)


def _found(level: Level, name: str, text: str, *, at: str, tainted: bool) -> _Found:
    hit = MemoryHit(
        level=level, name=name, text=one_line(text, SHOWN_CHARS), at=at, tainted=tainted
    )
    return _Found(hit, Counter(words(f"{name} {text}")))
