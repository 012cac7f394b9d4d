"""Devices: python -m bench.edge [PAIRS.jsonl] [--runs N]

Starts the follower as a device does, process to result, beside a bare interpreter in turns, and
asks it goals whose answer is known: known goals and goals with other values (to be matched) and
look-alikes (to be refused). PAIRS.jsonl, labelled pairs as bench.matching takes them, stands in for
the goals that are built in.

JSON: ``cold_ratio`` (median follower over median bare interpreter), ``cold_ms``, ``compiled_ratio``
(the follower as a .pyc, whose source is not compiled at each start), ``values_ratio`` (the source,
for a goal with another value), ``matched_rate``
(of goals that differ in values only), ``refused_lookalikes_rate``, ``wrong_values`` (goals
that were matched with other values than they say).
"""

from __future__ import annotations

import argparse
import json
import py_compile
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.edge_goals import CASES
from bench.report import finish, table
from edge_runtime import run_follower
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, Standing, TraceStep
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.edge_bundle import Allowed, write_bundle
from llmos_workers.learning.edge_item import edge_item
from llmos_workers.learning.matching.arguments import delimited
from llmos_workers.learning.signature import goal_signature

RUNNER = Path(run_follower.__file__)


@dataclass
class Tally:
    """What came of the goals."""

    matched: int = 0
    matchable: int = 0
    refused: int = 0
    lookalikes: int = 0
    wrong: int = 0
    followed: tuple[str, ...] = ()
    """Look-alikes that were followed."""


def trace_of(goal: str, values: dict[str, str]) -> ExecutionTrace:
    """A proved trace of one call that shows the goal's values."""
    arguments = {"path": "out.txt"} | {f"v{at}": value for at, value in enumerate(values.values())}
    return ExecutionTrace(
        trace_id=goal_signature(goal),
        goal_signature=goal_signature(goal),
        goal_text=goal,
        slots=tuple(Slot(name=n, value=v, declared=True) for n, v in values.items()),
        steps=(TraceStep(call=ToolCall(name="Write", arguments=arguments)),),
        answer="Done.",
        standing=Standing.SIGNED,
    )


def ask(tally: Tally, item: dict[str, Any], goal: str, wanted: dict[str, str] | None) -> None:
    """One goal; ``wanted`` None: it must be refused."""
    try:
        found = run_follower.match(item, goal)
    except run_follower.Refusal:
        found = None
    if wanted is None:
        tally.lookalikes += 1
        tally.refused += found is None
        tally.followed += () if found is None else (goal,)
        return
    tally.matchable += 1
    tally.matched += found is not None
    tally.wrong += found is not None and any(found[name] != wanted[name] for name in wanted)


def built_in() -> Tally:
    """The goals of bench/edge_goals.py."""
    tally = Tally()
    for case in CASES:
        item = edge_item(trace_of(case.goal, case.values))
        ask(tally, item, case.goal, case.values)
        for goal, values in case.others:
            ask(tally, item, goal, dict(zip(case.values, values, strict=True)))
        for goal in case.lookalikes:
            ask(tally, item, goal, None)
    return tally


def from_pairs(path: Path) -> Tally:
    """Labelled pairs: templates are to be matched, different goals refused; paraphrases, which a
    device is not asked to know, are left out.
    """
    tally = Tally()
    for line in path.read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        changed = {
            (v["old"] if isinstance(v, dict) else name): (v["new"] if isinstance(v, dict) else v)
            for name, v in pair.get("slots", {}).items()
        }
        found = {
            f"s{n}": m[0]
            for n, old in enumerate(changed)
            if (m := delimited(old).search(pair["a"]))
        }
        item = edge_item(trace_of(pair["a"], found))
        if pair["label"] == "different":
            ask(tally, item, pair["b"], None)
        elif pair["label"] == "template":
            new = {name: changed.get(value, value) for name, value in found.items()}
            ask(tally, item, pair["b"], new)
    return tally


@dataclass(frozen=True)
class Start:
    """Process to result, medians in turns."""

    ratio: float
    """The follower's one file over a bare interpreter."""
    compiled: float
    """The same, compiled beforehand."""
    values: float
    """The one file, for a goal with another value than was learned."""
    ms: float


def cold(runs: int) -> Start:
    """How long a known goal takes from the start of the process."""
    with tempfile.TemporaryDirectory() as name:
        known, other = _goals(Path(name))
        compiled = py_compile.compile(str(RUNNER), str(Path(name) / "device" / "run_follower.pyc"))
        commands = {
            "bare": ["-c", "pass"],
            "source": [str(RUNNER), *known],
            "compiled": [str(compiled), *known],
            "values": [str(RUNNER), *other],
        }
        took: dict[str, list[float]] = {kind: [] for kind in commands}
        for _ in range(runs):
            for kind, words in commands.items():
                argv = [sys.executable, "-I", *words]
                began = time.perf_counter()
                subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
                took[kind].append(time.perf_counter() - began)
    median = {kind: statistics.median(times) for kind, times in took.items()}
    ratio = {kind: took / median["bare"] for kind, took in median.items()}
    return Start(ratio["source"], ratio["compiled"], ratio["values"], median["source"] * 1000)


def _goals(folder: Path) -> tuple[list[str], list[str]]:
    """Arguments of the follower for a goal that its bundle knows word by word, and for one with
    another value.
    """
    keys = KeyRing(folder / "keys")
    traces = [trace_of(case.goal, case.values) for case in CASES]
    for at, content in ((0, "x"), (2, "Pump")):
        step = TraceStep(call=ToolCall(name="Write", arguments={"path": "o", "content": content}))
        traces[at] = traces[at].model_copy(update={"steps": (step,)})
    traces[0] = traces[0].model_copy(update={"slots": ()})
    made = write_bundle(traces, keys, Allowed(), project="default", now=time.time(), counter=1)
    (folder / "b.llmos").write_bytes(made.data)
    (folder / "base").mkdir()
    options = ["--key", keys.own().text, "--base", str(folder / "base")]
    options += ["--state", str(folder / "s.json")]
    known, other = traces[0].goal_text, CASES[2].others[0][0]
    bundle = str(folder / "b.llmos")
    return [bundle, known, *options], [bundle, other, *options]


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    options.add_argument("pairs", nargs="?", type=Path)
    options.add_argument("--runs", type=int, default=40)
    given = options.parse_args()
    tally = from_pairs(given.pairs) if given.pairs else built_in()
    start = cold(given.runs)
    rows = [
        ("goals with other values, matched", f"{tally.matched} of {tally.matchable}"),
        ("look-alikes, refused", f"{tally.refused} of {tally.lookalikes}"),
        ("process to result", f"{start.ms:.0f} ms, {start.ratio:.2f} x a bare interpreter"),
        ("the same, compiled before", f"{start.compiled:.2f} x a bare interpreter"),
        ("with another value", f"{start.values:.2f} x a bare interpreter"),
    ]
    table("A device", ("what", "figure"), rows)
    for goal in tally.followed:
        print(f"FOLLOWED A LOOK-ALIKE: {goal}")
    finish(
        {
            "cold_ratio": start.ratio,
            "cold_ms": start.ms,
            "compiled_ratio": start.compiled,
            "values_ratio": start.values,
            "matched_rate": tally.matched / max(1, tally.matchable),
            "refused_lookalikes_rate": tally.refused / max(1, tally.lookalikes),
            "wrong_values": tally.wrong,
        }
    )


if __name__ == "__main__":
    main()
