"""A real fleet under kill -9, SIGSTOP and broker restarts: does every guarantee hold?

    python -m bench.chaos [--goals N] [--kills K] [--seed S]

Several worker processes a role, a real server and the rehearsal model with random refusals, slow
and broken answers work on new goals, repeats, goals with new values and goals with an effect
outside of llmos. Meanwhile K processes are killed (pool children, whole workers of every role; at
least five between an answer of the API and its journal), lease holders are stopped past their
lease and woken, and the broker is restarted. There is no beat process to kill: the timers in the
workers stand in for it, and die with them. At the end everything is counted. Exit code 1 when a
guarantee is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from bench.chaos_parts import checks
from bench.chaos_parts.bell import BELL_FILE
from bench.chaos_parts.driver import Driver
from bench.chaos_parts.evidence import Evidence
from bench.chaos_parts.fleet import Fleet, orphans
from bench.chaos_parts.mischief import Hit
from bench.chaos_parts.model import make_model
from bench.chaos_parts.population import AGENT, BELL_AGENT, plan, write_families
from bench.chaos_parts.settings import settings
from bench.chaos_parts.steps import UNANSWERED
from bench.report import finish, percentile, table
from llmos_workers.evolution.seed import install_seed_agents

ORPHAN_SECS = 10.0
SHOWN = 10
"""Violations of one guarantee that are printed."""


def main() -> int:
    """Run and judge; 1 when a guarantee is broken."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--goals", type=int, default=300)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--stops", type=int, help="default: a quarter of the kills")
    options.add_argument(
        "--restarts", type=int, help="of the broker; default: a tenth of the kills"
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, help="folder to work in, kept for a look")
    given = options.parse_args()
    stops = max(1, given.kills // 4) if given.stops is None else given.stops
    restarts = max(1, given.kills // 10) if given.restarts is None else given.restarts
    with contextlib.ExitStack() as stack:
        if given.keep is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="llmos-chaos-"))
        else:
            given.keep.mkdir(parents=True)
            made = str(given.keep)
        folder = Path(made).resolve()
        began = time.monotonic()
        found, hits, unforeseen = run(
            folder, given.goals, given.seed, (given.kills, stops, restarts)
        )
        seconds = time.monotonic() - began
        _write_down(found, folder / "goals.json")
    return report(found, hits, unforeseen, seconds=seconds)


def run(
    folder: Path, goals: int, seed: int, disruptions: tuple[int, int, int]
) -> tuple[Evidence, list[Hit], list[str]]:
    """The whole run in ``folder``, with so many kills, stops and restarts: evidence, what was
    done, and deaths that nobody asked for.
    """
    rng = random.Random(seed)
    workspace = folder / "workspace"
    install_seed_agents(workspace)
    (workspace / "agents" / f"{BELL_AGENT}.md").write_text(AGENT, encoding="utf-8")
    bell_file = folder / "bells.txt"
    model, log = make_model(write_families(folder / "skills"), folder / "served.jsonl", seed=seed)
    config = settings(workspace, model.url)
    env = {
        BELL_FILE: str(bell_file),
        "LLMOS_TASK_MODULES": "llmos_workers.tasks,bench.chaos_parts.bell",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    with model:
        fleet = Fleet(config, folder, env)
        with fleet:
            say(f"the fleet is up: {len(fleet.members)} workers in {folder}")
            driver = Driver(fleet, log, plan(goals, rng), rng, say)
            driver.run(*disruptions)
            running = [member.pid for member in fleet.members if member.pid]
            running += [fleet.server.pid] if fleet.server.pid else []
            stray = _vanish(fleet.mark, workspace, running)
            found = driver.evidence(bell_file, stray)
        left = _vanish(fleet.mark, workspace, [])
    found = Evidence(**{**vars(found), "orphans": [*found.orphans, *left]})
    return found, driver.mischief.hits, fleet.unexpected


def _vanish(mark: str, workspace: Path, known: list[int]) -> list[str]:
    """What is still an orphan after a while: the kernel needs a moment to end what we ended."""
    deadline = time.monotonic() + ORPHAN_SECS
    while (left := orphans(mark, workspace, known)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def report(found: Evidence, hits: list[Hit], unforeseen: list[str], *, seconds: float) -> int:
    """Tables and the line of JSON; the exit code."""
    kinds = sorted({hit.what for hit in hits})
    rows = [
        (f"{hit.at - hits[0].at:.1f}", hit.what, _slowest(found, hit), hit.steps) for hit in hits
    ]
    head = ("s", "disruption", "went on after s", "step")
    table("What was done, and what it hit", head, rows)
    ends: dict[str, int] = {}
    for goal in found.goals:
        ends[goal.status or goal.state] = ends.get(goal.status or goal.state, 0) + 1
    table("How the goals ended", ("state", "goals"), sorted(ends.items()))
    broken = {name: check(found) for name, check in checks.CHECKS.items()}
    broken["died_unasked"] = unforeseen
    for name, words in broken.items():
        for word in words[:SHOWN]:
            print(f"BROKEN {name}: {word}")
    overspent = checks.overspent(found)
    after_answer = checks.confirmed_answers(found, hits, UNANSWERED)
    recovery = checks.recoveries(found, hits)
    finish(
        {
            "goals": len(found.goals),
            "kills": sum("kill -9" in hit.what for hit in hits),
            "stops": sum("SIGSTOP" in hit.what for hit in hits),
            "broker_restarts": sum("broker" in hit.what for hit in hits),
            "kills_after_answer": after_answer,
            "kinds": len(kinds),
            "lost": len(broken["lost"]),
            "paid_twice": len(broken["paid_twice"]),
            "in_doubt": sum(line.kind == "doubt" for line in found.ledger),
            "overspent_microdollars": overspent,
            "unpaid": len(broken["unpaid"]),
            "effects_doubled": len(broken["effects_doubled"]),
            "files_wrong": len(broken["files_wrong"]),
            "reservations_left": len(broken["reservations_left"]),
            "late_publishes": len(broken["late_publishes"]),
            "orphans": len(broken["orphans"]),
            "audit_faults": len(broken["audit_faults"]),
            "failed_unexpectedly": len(broken["failed_unexpectedly"]),
            "results_missing": len(broken["results_missing"]),
            "died_unasked": len(unforeseen),
            "recovery_p95_s": percentile(recovery, 0.95) if recovery else 0.0,
            "seconds": seconds,
        }
    )
    return 1 if overspent or any(broken.values()) else 0


def _write_down(found: Evidence, file: Path) -> None:
    """How each goal went, for whoever looks for the cause of a fault."""
    goals = {
        goal.goal_id: {"text": goal.planned.text, "error": goal.error, "states": goal.states}
        for goal in found.goals
    }
    file.write_text(json.dumps(goals, indent=1), encoding="utf-8")


def _slowest(found: Evidence, hit: Hit) -> str:
    seconds = checks.recoveries(found, [hit])
    return f"{max(seconds):.1f}" if seconds else ""


def say(words: str) -> None:
    """Progress."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
