"""Goals that ended, the newest of them, and what they say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice, pairwise
from typing import cast

from llmos_workers.contracts.goal import FINAL_STATES
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import Client
from llmos_workers.monitor.tally import NO_MODE

PAGE = 500


@dataclass(frozen=True)
class Ended:
    """An outcome, and when it was stored (Unix time)."""

    at: float
    outcome: Outcome

    @property
    def mode(self) -> str:
        """The mode, or NONE."""
        return self.outcome.mode.value if self.outcome.mode else NO_MODE


@dataclass(frozen=True)
class Stretch:
    """Goals that ended one after the other, taken together."""

    goals: int
    mean_cost_micro: float
    modes: dict[str, int]


@dataclass(frozen=True)
class ToolTimes:
    """How long one tool took, in milliseconds."""

    name: str
    calls: int
    failed: int
    median_ms: float
    p95_ms: float


def read_ended(
    state: Client, *, limit: int, project: str | None = None, watch: Watch = unwatched
) -> list[Ended]:
    """The newest ``limit`` goals that ended (of a project: of its own), oldest first.

    Raises redis.RedisError.
    """
    newest = merge(*(_newest_first(state, final, project) for final in FINAL_STATES), reverse=True)
    chosen = sorted(islice(newest, limit))
    found = []
    for start in watch("reading goals", range(0, len(chosen), PAGE)):
        page = chosen[start : start + PAGE]
        with state.pipeline(transaction=False) as pipe:
            for _, goal_id in page:
                pipe.hget(keys.goal(goal_id), "outcome")
            for (at, _), raw in zip(page, pipe.execute(), strict=True):
                if raw:
                    found.append(Ended(at, Outcome.model_validate_json(raw)))
    return found


def _newest_first(state: Client, final: str, project: str | None) -> Iterator[tuple[float, str]]:
    """(when, goal id) of the goals in a final state, read a page at a time."""
    start = 0
    while True:
        rows = cast(
            "list[tuple[bytes, float]]",
            state.zrange(
                keys.goals_in_state(final), start, start + PAGE - 1, desc=True, withscores=True
            ),
        )
        ours: Sequence[object] = [True] * len(rows)
        if project is not None and rows:
            ours = state.zmscore(keys.goals_of_project(project), [raw.decode() for raw, _ in rows])
        yield from (
            (at, raw.decode())
            for (raw, at), mine in zip(rows, ours, strict=True)
            if mine is not None
        )
        if len(rows) < PAGE:
            return
        start += PAGE


def stretches(ended: Sequence[Ended], *, most: int = 40) -> list[Stretch]:
    """The goals in at most ``most`` runs of about equal length, in their order."""
    count = min(most, len(ended))
    edges = [round(n * len(ended) / count) for n in range(count + 1)] if count else []
    return [_stretch(ended[a:b]) for a, b in pairwise(edges)]


def _stretch(ended: Sequence[Ended]) -> Stretch:
    modes: dict[str, int] = defaultdict(int)
    for each in ended:
        modes[each.mode] += 1
    cost = sum(each.outcome.cost_micro for each in ended)
    return Stretch(len(ended), cost / len(ended), dict(modes))


def tool_times(ended: Sequence[Ended], *, most: int = 10) -> list[ToolTimes]:
    """The slowest tools by their 95th percentile, slowest first."""
    calls: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for each in ended:
        for call in each.outcome.tool_calls:
            calls[call.name].append((call.duration_ms, call.ok))
    found = []
    for name, those in calls.items():
        times = sorted(ms for ms, _ in those)
        failed = sum(not ok for _, ok in those)
        found.append(ToolTimes(name, len(those), failed, _at(times, 0.5), _at(times, 0.95)))
    return sorted(found, key=lambda tool: (-tool.p95_ms, tool.name))[:most]


def _at(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed."""
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]
