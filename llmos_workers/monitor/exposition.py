"""The figures as Prometheus metrics. Needs the extra ``llmos-workers[metrics]``.

No metric carries a goal's text, a path, a host or a secret: labels are modes, states, models,
queues, roles and names of projects and tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING

import redis
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.monitor.figures import Figures, look
from llmos_workers.monitor.tally import Histogram, Tally

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS


TOLD_FROM_ZERO = ("recovery.dead", "recovery.died", "recovery.lost", "app_goals.refused")
"""Counts that are told before they have happened once: Prometheus sees no increase in a sample that
is new, and the first goal that was given up has to raise an alarm.
"""


class SystemCollector(Collector):
    """Looks at the system at each scrape. With Redis away it says only ``llmos_up 0``."""

    def __init__(self, client: LLMOS) -> None:
        self._client = client
        self._tally = Tally(client.redis)
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """All metrics of this moment."""
        with self._lock:
            try:
                self._tally.update()
                figures = look(self._client)
            except (redis.RedisError, LLMOSError):
                return [GaugeMetricFamily("llmos_up", "Whether Redis answered.", 0)]
            return [
                GaugeMetricFamily("llmos_up", "Whether Redis answered.", 1),
                *_now(figures),
                *_money(figures),
                *_felt(figures),
                *_totals(self._tally),
            ]

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read."""
        return []


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"llmos_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"llmos_{name}", text, labels=labels)


def _now(figures: Figures) -> Iterator[Metric]:
    goals = _gauge("goals", "Goals in a state that are still kept.", ["state"])
    for state, number in figures.states.items():
        goals.add_metric([state], number)
    yield goals
    backlog = _gauge("backlog", "Tasks that wait or are held.", ["queue", "part"])
    for queue in figures.backlog.queues:
        for part in ("queued", "delayed", "unacked"):
            backlog.add_metric([queue.queue, part], getattr(queue, part))
    yield backlog
    oldest = "Longest wait for a worker, of all goals that wait for one."
    yield GaugeMetricFamily("llmos_oldest_waiting_seconds", oldest, figures.backlog.oldest_s)
    roles: dict[str, list[int]] = {}
    for worker in figures.workers:
        found = roles.setdefault(str(worker.get("role")), [0, 0])
        found[0] += 1
        found[1] += int(worker.get("concurrency") or 0)
    workers = _gauge("workers", "Live workers by heartbeat.", ["role"])
    slots = _gauge("worker_slots", "Tasks that live workers can run at a time.", ["role"])
    for role, (number, places) in sorted(roles.items()):
        workers.add_metric([role], number)
        slots.add_metric([role], places)
    yield from (workers, slots)
    yield GaugeMetricFamily("llmos_approvals_open", "Unanswered requests.", figures.approvals)
    yield GaugeMetricFamily("llmos_traces", "Traces known.", figures.traces)
    own = _counter("self_healing", "What the system had to do by itself.", ["what"])
    for what, number in (dict.fromkeys(TOLD_FROM_ZERO, 0) | figures.counters).items():
        own.add_metric([what], number)
    yield own
    audits = _counter("audits", "Shadow audits of replays.", ["agreement"])
    for agreement, number in figures.audits.model_dump().items():
        audits.add_metric([agreement], number)
    yield audits
    bound = "Upper 95 % bound of the share of wrong replays; 1 without audits."
    yield GaugeMetricFamily("llmos_wrong_replay_bound_ratio", bound, figures.wrong_bound)


def _money(figures: Figures) -> Iterator[Metric]:
    labels = ["scope", "window"]
    limit = _gauge("budget_limit_microdollars", "Limit of a scope.", labels)
    left = _gauge("budget_left_microdollars", "What can still be reserved.", labels)
    spent = _gauge("budget_spent_microdollars", "Charged in the window that holds now.", labels)
    doubt = _gauge("budget_in_doubt_microdollars", "Sent without an answer.", labels)
    for scope in figures.budgets:
        for sums in scope.all_sums:
            where = [scope.scope, sums.window or "lifetime"]
            spent.add_metric(where, sums.spent_micro)
            doubt.add_metric(where, sums.in_doubt_micro)
            if sums.limit_micro is not None:
                limit.add_metric(where, sums.limit_micro)
                left.add_metric(where, sums.left_micro or 0)
    yield from (limit, left, spent, doubt)


def _felt(figures: Figures) -> Iterator[Metric]:
    valence = _gauge("valence", "Internal state, -1 to 1.", ["project", "value"])
    for project, state in figures.feelings.items():
        for name, value in state.valence.model_dump().items():
            valence.add_metric([project, name], value)
    yield valence


def _totals(tally: Tally) -> Iterator[Metric]:
    ended = _counter("goals_ended", "Goals that ended.", ["mode", "status"])
    for labels, number in sorted(tally.ended.items()):
        ended.add_metric(labels, number)
    cost = _counter("cost_microdollars", "Charged for model calls.", ["mode", "model"])
    for labels, micro in sorted(tally.cost.items()):
        cost.add_metric(labels, micro)
    tokens = _counter("tokens", "Tokens of charged calls.", ["model", "kind"])
    for labels, number in sorted(tally.tokens.items()):
        tokens.add_metric(labels, number)
    yield from (ended, cost, tokens)
    yield CounterMetricFamily(
        "llmos_saved_microdollars", "What replays saved against learning.", tally.saved
    )
    yield _histogram("goal_duration_seconds", "From acceptance to the end.", tally.duration)
    yield _histogram("match_confidence", "Of runs that rest on a trace.", tally.confidence)
    yield _histogram("tool_duration_seconds", "Of tool calls.", tally.tools, label="tool")
    failed = _counter("tool_failures", "Tool calls that failed or were refused.", ["tool"])
    for tool, number in sorted(tally.failed_tools.items()):
        failed.add_metric([tool], number)
    yield failed


def _histogram(name: str, text: str, found: dict[str, Histogram], *, label: str = "mode") -> Metric:
    family = HistogramMetricFamily(f"llmos_{name}", text, labels=[label])
    for value, histogram in sorted(found.items()):
        family.add_metric([value], list(histogram.cumulative()), histogram.total)
    return family
