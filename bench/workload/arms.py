"""What a stream costs and gets wrong with one kind of memory.

The first arm has none and runs on the real system; its runs are what the caches store. A
cache that hits returns what the run it remembers did: the files it wrote and removed, the
answer it gave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.workload.checks import Case, Result
from bench.workload.stream import Ask
from llmos_workers.config import IndexConfig
from llmos_workers.learning.matching.embedder import load_embedder
from llmos_workers.learning.signature import normalize_goal


@dataclass(frozen=True)
class Spent:
    """What one goal used of the model, by the model server's own log."""

    calls: int = 0
    tokens: int = 0
    micro: int = 0
    """Micro-dollars at list prices."""


@dataclass(frozen=True)
class Run:
    """One goal with what it used, how long it took and what came of it."""

    spent: Spent
    ms: float
    result: Result
    mode: str = ""


@dataclass
class Arm:
    """A kind of memory with the runs it made of the stream."""

    name: str
    runs: list[Run] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Number of the goal, and what is wrong with its result."""

    def add(self, ask: Ask, run: Run) -> None:
        """Take a run in and check it."""
        fault = fault_of(ask, run.result)
        if fault:
            self.faults.append((len(self.runs), fault))
        self.runs.append(run)

    @property
    def micro(self) -> int:
        """Micro-dollars of the whole stream."""
        return sum(run.spent.micro for run in self.runs)

    @property
    def calls(self) -> int:
        """Model calls of the whole stream."""
        return sum(run.spent.calls for run in self.runs)

    @property
    def tokens(self) -> int:
        """Tokens in and out of the whole stream."""
        return sum(run.spent.tokens for run in self.runs)


def fault_of(ask: Ask, result: Result) -> str:
    """What is wrong with a result; a goal that can be done has to be done."""
    if not result.ok and not ask.task.kind.fails:
        return f"failed: {result.text[:100]}"
    try:
        return ask.task.kind.check(Case(ask.task.values, ask.inputs(), result))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"not to be read: {error}"


def floor_micro(asks: Sequence[Ask], plain: Arm) -> int:
    """Paying once for each distinct task and state of its inputs; failures each time."""
    paid: set[tuple[str, ...]] = set()
    total = 0
    for ask, run in zip(asks, plain.runs, strict=True):
        if ask.identity not in paid or not run.result.ok:
            total += run.spent.micro
            paid.add(ask.identity)
    return total


Likeness = Callable[[str, int], int | None]
"""Asks a cache for the number of the remembered run that answers a goal, if any."""


def exact_cache(asks: Sequence[Ask], plain: Arm, *, digests: bool) -> Arm:
    """A cache of results by the goal's text (case and spaces aside)."""
    known: dict[str, int] = {}

    def find(goal: str, _number: int) -> int | None:
        return known.get(normalize_goal(goal))

    def keep(number: int) -> None:
        known[normalize_goal(asks[number].goal)] = number

    return _cached(_name("exact text", digests), asks, plain, find, keep, digests=digests)


def cosine_caches(asks: Sequence[Ask], plain: Arm, at: Sequence[float]) -> list[Arm]:
    """Embedding caches at thresholds, plain and with digests of the inputs."""
    embedder = load_embedder(IndexConfig())
    vectors = np.stack([embedder.embed(ask.goal).vector for ask in asks])
    arms = []
    for digests in (False, True):
        arms += [_cosine_cache(asks, plain, vectors, t, digests=digests) for t in at]
    return arms


def _cosine_cache(
    asks: Sequence[Ask], plain: Arm, vectors: NDArray[np.float32], at: float, *, digests: bool
) -> Arm:
    kept: list[int] = []

    def find(_goal: str, number: int) -> int | None:
        if not kept:
            return None
        scores = vectors[kept] @ vectors[number]
        # Of equals the newest: it knows the latest state of the inputs.
        best = len(kept) - 1 - int(np.argmax(scores[::-1]))
        return kept[best] if scores[best] >= at else None

    name = _name(f"cosine {at:.2f}", digests)
    return _cached(name, asks, plain, find, kept.append, digests=digests)


def _cached(
    name: str,
    asks: Sequence[Ask],
    plain: Arm,
    find: Likeness,
    keep: Callable[[int], None],
    *,
    digests: bool,
) -> Arm:
    """Run the stream through a cache: a miss is what it cost without one, and is kept."""
    arm = Arm(name)
    for number, ask in enumerate(asks):
        started = time.perf_counter()
        source = find(ask.goal, number)
        if source is not None and (not digests or _inputs_same(asks[source], ask)):
            result = recalled(asks[source], plain.runs[source].result, ask)
            arm.add(ask, Run(Spent(), (time.perf_counter() - started) * 1000, result, "hit"))
            continue
        arm.add(ask, plain.runs[number])
        if plain.runs[number].result.ok:
            keep(number)
    return arm


def _name(what: str, digests: bool) -> str:
    return f"{what} + input digests" if digests else what


def _inputs_same(source: Ask, ask: Ask) -> bool:
    then, now = source.inputs(), ask.inputs()
    return all(then[name] == now[name] for name in source.task.inputs)


def recalled(source: Ask, recorded: Result, ask: Ask) -> Result:
    """The remembered effects upon today's inputs."""
    before = source.inputs()
    written = {name: made for name, made in recorded.files.items() if before.get(name) != made}
    removed = before.keys() - recorded.files.keys()
    files = {name: now for name, now in ask.inputs().items() if name not in removed} | written
    return Result(recorded.ok, recorded.text, files)
