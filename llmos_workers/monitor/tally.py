"""Running totals over goals that ended and money that moved, each read once.

Whoever keeps one reads with each ``update`` only what is new. Nothing of it is on the way of a
goal: workers write no counter for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, cast

from llmos_workers.contracts.goal import FINAL_STATES
from llmos_workers.kernel import keys
from llmos_workers.kernel.ledger import read_ledger
from llmos_workers.kernel.redis import Client

PAGE = 500
OVERLAP_SECS = 120.0
"""Goals are filed under the time of whoever ended them: so far behind the newest one is looked
again, for those whose clock is late."""

NO_MODE = "NONE"
"""Mode of goals that ended before one was chosen."""

DURATION_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the classes of durations, in seconds."""
TOOL_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The same of tool calls."""
MOST_TOOLS = 100
"""Tools that are told by name."""
OTHER_TOOLS = "other"
"""The rest, and what no call of which has succeeded: a model may ask for a tool of any name."""

CONFIDENCE_BOUNDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.98, 1.0)


@dataclass
class Histogram:
    """Counts by class (the last one is above all bounds), and the sum of the values."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        place = next((i for i, b in enumerate(self.bounds) if value <= b), len(self.bounds))
        self.counts[place] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """(upper bound as text, values up to it), as Prometheus wants them."""
        seen = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            seen += count
            yield bound, seen


class Tally:
    """Totals since the oldest goal and ledger line that are kept. Threads may share it."""

    def __init__(self, state: Client) -> None:
        self._redis = state
        self._lock = Lock()
        self._ledger_at = ""
        self._ended_at: dict[str, float] = {}
        self._seen: dict[str, dict[str, float]] = {}
        self.ended: Counter[tuple[str, str]] = Counter()
        """(mode, status) -> goals."""
        self.duration: dict[str, Histogram] = {}
        """Mode -> seconds from acceptance to the end."""
        self.confidence: dict[str, Histogram] = {}
        """Mode -> confidence of the match that a run rested on; runs without one count not."""
        self.cost: Counter[tuple[str, str]] = Counter()
        """(mode, model) -> micro-dollars charged."""
        self.tokens: Counter[tuple[str, str]] = Counter()
        """(model, kind) -> tokens."""
        self.tools: dict[str, Histogram] = {}
        """Tool -> seconds of a call."""
        self.failed_tools: Counter[str] = Counter()
        """Tool -> calls that failed or were refused."""
        self.saved = 0
        """Micro-dollars that replays saved."""

    def update(self) -> None:
        """Count what is new. Raises redis.RedisError; what was counted stays counted once."""
        with self._lock:
            for state in FINAL_STATES:
                for outcome in self._new(state.value):
                    self._count(outcome)
            self._count_ledger()

    def _new(self, state: str) -> Iterator[dict[str, Any]]:
        """Outcomes of a final state that were not seen before."""
        index = keys.goals_in_state(state)
        seen = self._seen.setdefault(state, {})
        start, offset = self._ended_at.get(state, float("-inf")), 0
        while True:
            page = cast(
                "list[tuple[bytes, float]]",
                self._redis.zrangebyscore(index, start, "+inf", offset, PAGE, withscores=True),
            )
            fresh = [(raw.decode(), at) for raw, at in page if raw.decode() not in seen]
            with self._redis.pipeline(transaction=False) as pipe:
                for goal_id, _ in fresh:
                    pipe.hget(keys.goal(goal_id), "outcome")
                found = pipe.execute()
            for (goal_id, at), raw in zip(fresh, found, strict=True):
                seen[goal_id] = at
                if raw:
                    yield json.loads(raw)
            if len(page) < PAGE:
                break
            offset += PAGE
        newest = max(seen.values(), default=float("-inf"))
        self._ended_at[state] = newest - OVERLAP_SECS
        self._seen[state] = {k: at for k, at in seen.items() if at >= newest - OVERLAP_SECS}

    def _count(self, outcome: dict[str, Any]) -> None:
        mode = outcome.get("mode") or NO_MODE
        self.ended[mode, outcome["status"]] += 1
        histogram = self.duration.setdefault(mode, Histogram(DURATION_BOUNDS))
        histogram.add(float(outcome.get("duration_s") or 0.0))
        if outcome.get("trace_id"):
            sure = self.confidence.setdefault(mode, Histogram(CONFIDENCE_BOUNDS))
            sure.add(float(outcome.get("confidence") or 0.0))
        for call in outcome.get("tool_calls") or ():
            self._count_call(call)

    def _count_call(self, call: dict[str, Any]) -> None:
        name = str(call["name"])
        if name not in self.tools and (not call["ok"] or len(self.tools) >= MOST_TOOLS):
            name = OTHER_TOOLS
        took = self.tools.setdefault(name, Histogram(TOOL_BOUNDS))
        took.add(float(call.get("duration_ms") or 0.0) / 1000)
        self.failed_tools[name] += not call["ok"]

    def _count_ledger(self) -> None:
        for entry in read_ledger(self._redis, after=self._ledger_at):
            self._ledger_at = entry.entry_id
            self.saved += entry.saved_micro
            if entry.micro:
                self.cost[entry.mode or NO_MODE, entry.model] += entry.micro
            used = {
                "input": entry.usage.input_tokens,
                "output": entry.usage.output_tokens,
                "cache_write": entry.usage.cache_write_5m_tokens
                + entry.usage.cache_write_1h_tokens,
                "cache_read": entry.usage.cache_read_tokens,
            }
            for kind, tokens in used.items():
                if tokens:
                    self.tokens[entry.model, kind] += tokens
