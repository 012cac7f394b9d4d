"""The modes on the same goals: what each takes and costs.

    python -m bench.modes [--rounds N] [--replays N]

ORCHESTRATOR does all of the goals as one goal of several parts, in a project that knows nothing,
and then once more with the plan and its parts known; its figures are of that one goal.

A private stack with the scripted rehearsal model, which answers at once: real models add seconds to
LEARNER and MIXED, and nothing to the others. Each goal is learned; then every mode does all goals,
FOLLOWER and CRYSTALLIZED by turns, so that they see the same machine. Times run from acceptance to
the stored outcome; costs are list prices of the configured model for the tokens counted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import finish, percentile, table
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.flow.crystallize import crystallize
from llmos_workers.learning.signature import goal_signature
from llmos_workers.runtime import Runtime

GOALS = (
    "Create a Python calculator",
    "Copy sales.csv to backup.csv",
    "Convert sales.csv to JSON",
    "Summarize sales.csv into summary.md",
)
SALES = "region,amount\nnorth,120\nsouth,80\nnorth,30\n"
JOINED = "; ".join(goal[0].lower() + goal[1:] if at else goal for at, goal in enumerate(GOALS))
PROJECT = "bench"
TIMEOUT_SECS = 120.0
MODEL_MODES = (Mode.LEARNER, Mode.MIXED)
FREE_MODES = (Mode.FOLLOWER, Mode.CRYSTALLIZED)
SHOWN = (*MODEL_MODES, *FREE_MODES, Mode.ORCHESTRATOR)


@dataclass
class Plain:
    """Milliseconds and dollars."""

    ms: list[float]
    usd: list[float]


@dataclass
class Figures:
    """What was measured, by mode."""

    ms: dict[Mode, list[float]] = field(default_factory=lambda: defaultdict(list))
    usd: dict[Mode, list[float]] = field(default_factory=lambda: defaultdict(list))
    pairs: list[float] = field(default_factory=list)
    """CRYSTALLIZED over FOLLOWER, of goals done one right after the other."""
    known: Plain = field(default_factory=lambda: Plain([], []))
    """ORCHESTRATOR with the plan and all parts known."""

    def add(self, mode: Mode, outcome: Outcome) -> float:
        """Note one goal; its milliseconds."""
        if outcome.mode is not mode or not outcome.ok:
            raise SystemExit(
                f"not done in {mode}: {outcome.mode} {outcome.status} {outcome.reason}"
            )
        self.ms[mode].append(outcome.duration_s * 1000)
        self.usd[mode].append(outcome.cost_micro / 1_000_000)
        return outcome.duration_s * 1000


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3, help="of the modes with a model")
    options.add_argument("--replays", type=int, default=30, help="rounds of the others")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        config = LLMOSConfig.from_dict({"workspace": folder, "kernel": {"budget_usd": 100.0}})
        with LocalSystem(config) as system, LLMOS(system.config) as llmos:
            show(measure(system, llmos, Path(folder), given.rounds, given.replays))


def measure(system: LocalSystem, llmos: LLMOS, folder: Path, rounds: int, replays: int) -> Figures:
    """All modes on all goals."""
    figures = Figures()

    def done(goal: str, mode: Mode) -> Outcome:
        return llmos.submit(goal, project=PROJECT, mode=mode.value).result(TIMEOUT_SECS)

    output = folder / "projects" / PROJECT / "output"
    output.mkdir(parents=True, exist_ok=True)
    (output / "sales.csv").write_text(SALES)
    for mode in MODEL_MODES:
        for _ in range(rounds):
            for goal in GOALS:
                figures.add(mode, done(goal, mode))
    for number in range(rounds):
        plan(llmos, folder, f"{PROJECT}-plan{number}", figures)
    compile_all(Runtime(system.config))
    for goal in GOALS:  # warm: the sandbox, the runner
        for mode in FREE_MODES:
            done(goal, mode)
    for number in range(replays):
        for goal in GOALS:
            took = {m: figures.add(m, done(goal, m)) for m in FREE_MODES[:: 1 - number % 2 * 2]}
            figures.pairs.append(took[Mode.CRYSTALLIZED] / took[Mode.FOLLOWER])
    return figures


def plan(llmos: LLMOS, folder: Path, project: str, figures: Figures) -> None:
    """All goals as one, where nothing is known, and again."""
    output = folder / "projects" / project / "output"
    output.mkdir(parents=True)
    (output / "sales.csv").write_text(SALES)
    new = llmos.submit(JOINED, project=project).result(TIMEOUT_SECS)
    figures.add(Mode.ORCHESTRATOR, new)
    again = llmos.submit(JOINED, project=project).result(TIMEOUT_SECS)
    if again.mode is not Mode.ORCHESTRATOR or not again.ok or again.llm_calls:
        raise SystemExit(f"not done by the known plan: {again.mode} {again.status} {again.reason}")
    figures.known.ms.append(again.duration_s * 1000)
    figures.known.usd.append(again.cost_micro / 1_000_000)


def compile_all(runtime: Runtime) -> None:
    """Make a tool of each goal's trace, as upkeep does after five uses."""
    for goal in GOALS:
        trace = runtime.traces.get(PROJECT, goal_signature(goal))
        if trace is None:
            raise SystemExit(f"nothing was learned from {goal!r}")
        attempt = crystallize(runtime, trace)
        if not attempt.made:
            raise SystemExit(f"no tool of {goal!r}: {attempt.result}")
    runtime.runners.close()


def show(figures: Figures) -> None:
    """A table for people, then JSON."""
    found: dict[str, float] = {}
    rows = []
    measured = {mode.lower(): Plain(figures.ms[mode], figures.usd[mode]) for mode in SHOWN}
    for name, each in (measured | {"orchestrator_known": figures.known}).items():
        mean, middle = sum(each.usd) / len(each.usd), percentile(each.ms, 0.5)
        slow = f"{percentile(each.ms, 0.9):.1f}"
        rows.append((name, len(each.ms), f"{middle:.1f}", slow, f"${mean:.6f}"))
        found |= {f"{name}_p50_ms": middle, f"{name}_cost_usd": mean}
    table("One goal", ["mode", "goals", "p50 ms", "p90 ms", "mean cost"], rows)
    finish(
        {
            "learner_p50_ms": found["learner_p50_ms"],
            "mixed_p50_ms": found["mixed_p50_ms"],
            "follower_p50_ms": found["follower_p50_ms"],
            "crystallized_p50_ms": found["crystallized_p50_ms"],
            "orchestrator_p50_ms": found["orchestrator_p50_ms"],
            "orchestrator_known_p50_ms": found["orchestrator_known_p50_ms"],
            "learner_cost_usd": found["learner_cost_usd"],
            "mixed_cost_usd": found["mixed_cost_usd"],
            "follower_cost_usd": found["follower_cost_usd"],
            "crystallized_cost_usd": found["crystallized_cost_usd"],
            "orchestrator_cost_usd": found["orchestrator_cost_usd"],
            "orchestrator_known_cost_usd": found["orchestrator_known_cost_usd"],
            "crystallized_over_follower": found["crystallized_p50_ms"] / found["follower_p50_ms"],
            "crystallized_over_follower_paired": percentile(figures.pairs, 0.5),
        }
    )


if __name__ == "__main__":
    main()
