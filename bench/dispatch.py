"""How long does a dispatch decision take as the memory grows?

    python -m bench.dispatch [--sizes 1000 10000 100000] [--ask N]

One project holds 1,000, then 10,000, then 100,000 traces: signed records in Redis and their
vectors in the embedded index. At each size goals that nobody asked before are dispatched:
read, embedded, searched for, the nearest traces fetched and compared, a mode chosen with its
reasons. A third are rewordings of stored goals, a third stored goals with another value, a third
new. ``growth`` is p50_ms_100k over p50_ms_1k. Exact repeats need neither model nor index and are
shown apart.

The stores are filled in bulk: every record points to one and the same Markdown file (a dispatch
only looks at its stamp), and beside 1,000 goals that are really embedded the vectors are those
of these goals with noise, as near to each other as goals of one trade are.
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import finish, percentile, table
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType, TraceStep
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.flow.dispatch import Dispatcher
from llmos_workers.kernel import keys
from llmos_workers.kernel.codec import pack
from llmos_workers.learning.index_contract import IndexEntry
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_fields import COUNTERS
from llmos_workers.learning.trace_seal import sealed
from llmos_workers.runtime import Runtime

PROJECT = "default"
EMBEDDED = 1_000
BATCH = 2_000
NOISE = 0.35
"""Length of the noise beside a unit vector: neighbours at cosine .89 of each other."""
DEEDS = ("Copy", "Compress", "Encrypt", "Summarize", "Print", "Upload", "Rename", "Archive")
REWORDED = ("please duplicate", "zip up", "please encrypt", "write a summary of", "print out",
            "please upload", "please rename", "please archive")  # fmt: skip
THINGS = ("the {n}th report of {place}", "invoice {n} of {place}", "the letters from {place}",
          "the minutes of meeting {n} in {place}", "all photos of {place}")  # fmt: skip
PLACES = ("Lisbon", "Oslo", "Quito", "Perth", "Cork", "Turin", "Graz", "Lyon", "Kyoto", "Dakar",
          "Split", "Bergen", "Tampa", "Leeds", "Porto", "Basel")  # fmt: skip
NEW = ("Which of our suppliers in {place} raised prices {n} times?",
       "Draw a floor plan of hall {n} in {place}",
       "Tune the alarm of pump {n} at the {place} plant")  # fmt: skip
FILE = Path("traces") / PROJECT / "bench.md"


class Filler:
    """Puts traces into both stores, quickly."""

    def __init__(self, runtime: Runtime, root: Path) -> None:
        self._runtime, self._count = runtime, 0
        self.goals: list[tuple[int, str]] = []
        """Deed and text of what was stored."""
        file = root / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("One file stands for all.\n", encoding="utf-8")
        facts = file.stat()
        self._stamp = f"{facts.st_mtime_ns}:{facts.st_size}"
        self._random = np.random.default_rng(0)
        self._known: list[np.ndarray] = []

    def fill(self, size: int) -> float:
        """Store until there are ``size`` traces; returns the seconds it took."""
        started = time.perf_counter()
        while self._count < size:
            todo = range(self._count, min(self._count + BATCH, size))
            goals = [_goal(number) for number in todo]
            self.goals += goals
            traces = [self._trace(text, deed) for deed, text in goals]
            self._record(traces)
            self._index(traces)
            self._count = todo.stop
        return time.perf_counter() - started

    def _trace(self, text: str, deed: int) -> ExecutionTrace:
        place = next(place for place in PLACES if place in text)
        call = ToolCall(name="Archive", arguments={"deed": DEEDS[deed], "place": place})
        signature = goal_signature(text)
        trace = ExecutionTrace(
            trace_id=signature,
            project=PROJECT,
            goal_signature=signature,
            goal_text=text,
            slots=(Slot(name="place", type=SlotType.NAME, value=place, declared=True),),
            steps=(TraceStep(call=call),),
        )
        return sealed(trace, self._runtime.traces.keys)

    def _record(self, traces: Sequence[ExecutionTrace]) -> None:
        with self._runtime.redis.pipeline(transaction=False) as pipe:
            for trace in traces:
                content = trace.model_dump(mode="python", exclude=set(COUNTERS))
                fields: dict[Any, Any] = {
                    "content": pack(content),
                    "revision": 1,
                    "version": 1,
                    "path": str(FILE),
                    "stamp": self._stamp,
                    "staged": "",
                    "flushed": 0,
                }
                pipe.hset(keys.trace(PROJECT, trace.trace_id), mapping=fields)
                pipe.hset(keys.trace_wordings(PROJECT), trace.goal_signature, trace.trace_id)
            pipe.sadd(keys.trace_ids(PROJECT), *(trace.trace_id for trace in traces))
            pipe.sadd(keys.TRACE_PROJECTS, PROJECT)
            pipe.execute()

    def _index(self, traces: Sequence[ExecutionTrace]) -> None:
        for trace in traces[: max(0, EMBEDDED - len(self._known))]:
            self._known.append(
                self._runtime.embedder.embed(parse(trace.goal_text).respelled).vector
            )
        noise = self._random.normal(size=(len(traces), self._known[0].shape[0]))
        noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
        entries = []
        for at, trace in enumerate(traces):
            number = self._count + at
            vector = self._known[number % len(self._known)]
            if number >= EMBEDDED:
                vector = vector + noise[at]
                vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            entries.append(
                IndexEntry(PROJECT, trace.trace_id, trace.goal_signature, trace.goal_text, vector)
            )
        self._runtime.index.upsert(entries)


def _goal(number: int) -> tuple[int, str]:
    """A goal no other number has, and which deed it asks for."""
    deed = number % len(DEEDS)
    thing = THINGS[number // len(DEEDS) % len(THINGS)]
    place = PLACES[number // 40 % len(PLACES)]
    told = thing.format(n=number + 1, place=place)
    suffix = "" if "{n}" in thing else f" taken in week {number + 1}"
    return deed, f"{DEEDS[deed]} {told}{suffix}"


def questions(stored: Sequence[tuple[int, str]], count: int, seed: int) -> Iterator[str]:
    """Goals that were never asked: reworded, with another value, new, in turn."""
    chance = random.Random(seed)
    for at in range(count):
        deed, text = stored[chance.randrange(len(stored))]
        place = next(place for place in PLACES if place in text)
        if at % 3 == 0:
            yield text.replace(DEEDS[deed], REWORDED[deed], 1)
        elif at % 3 == 1:
            yield text.replace(place, chance.choice(("Ghent", "Nice", "Bern", "Riga", "Bath")))
        else:
            told = NEW[at // 3 % len(NEW)]
            yield told.format(n=chance.randrange(10**6), place=place)


def timed(decide: Callable[[GoalRecord], object], texts: Sequence[str]) -> list[float]:
    """Milliseconds of each decision."""
    found = []
    for at, text in enumerate(texts):
        record = GoalRecord(goal_id=f"bench-{at}", text=text, created_at=0.0, updated_at=0.0)
        started = time.perf_counter()
        decide(record)
        found.append((time.perf_counter() - started) * 1_000)
    return found


def run(runtime: Runtime, root: Path, sizes: Sequence[int], ask: int) -> dict[str, float]:
    """Fill and ask at each size; prints the table."""
    runtime.refresh_index()  # nothing is there yet, so nothing of the filling is scanned
    filler, dispatcher = Filler(runtime, root), Dispatcher(runtime)
    rows, figures = [], {}
    for at, size in enumerate(sizes):
        seconds = filler.fill(size)
        timed(dispatcher.decide, list(questions(filler.goals, 12, seed=1_000 + at)))
        gc.collect()
        times = timed(dispatcher.decide, list(questions(filler.goals, ask, seed=at)))
        known = [text for _, text in filler.goals[:: max(1, size // ask)]][:ask]
        exact = timed(dispatcher.decide, known)
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        figures[f"p50_ms_{size // 1_000}k"] = p50
        rows.append((f"{size:,}", f"{seconds:.0f}", f"{p50:.1f}", f"{p99:.1f}",
                     f"{percentile(exact, 0.5):.2f}"))  # fmt: skip
    head = ("traces", "filled in s", "p50 ms", "p99 ms", "exact repeat, p50 ms")
    table("A dispatch decision", head, rows)
    return figures | {"growth": list(figures.values())[-1] / next(iter(figures.values()))}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--ask", type=int, default=120, help="goals asked at each size")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as name:
        root = Path(name)
        with EmbeddedServer(root / "redis") as server:
            where = {"workspace": str(root / "workspace"), "redis": {"url": server.url}}
            config = LLMOSConfig.from_dict(where)
            runtime = Runtime(config)
            try:
                figures = run(runtime, config.workspace, given.sizes, given.ask)
            finally:
                runtime.index.close()
                runtime.redis.close()
    finish(figures)


if __name__ == "__main__":
    main()
