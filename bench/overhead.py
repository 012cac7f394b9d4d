"""What llmos costs beside the work: replayed goals against bare Celery, in the same run.

    python -m bench.overhead [--goals N] [--rounds N]

Three kinds of work go through the same server, workers and queues, interleaved in rounds:
a replayed goal (Write, Read and Bash through the whole gate; every other one in new words),
the same three steps as a bare two-hop Celery task without llmos, and a two-hop no-op.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from celery.result import AsyncResult

from bench.report import finish, percentile, table
from llmos_workers.app import make_app
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.runtime import Runtime

PROJECTS = 8
"""Goals that run at once in one project see each other's files change; so they take turns."""
GOAL = "Create the report file report.txt and count its lines"
REWORDED = "Make the report file report.txt and count its lines"
TEXT = "alpha\nbeta\ngamma\n"
TIMEOUT_SECS = 120


@dataclass
class Kind:
    """One kind of work with what was measured of it."""

    name: str
    submit: Callable[[int], Callable[[], Any]]
    """Starts one and returns how to wait for it."""
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--goals", type=int, default=60, help="of each kind in each round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--long", action="store_true", help="ten times as many rounds")
    given = options.parse_args()
    rounds = given.rounds * (10 if given.long else 1)
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        config = LLMOSConfig.from_dict({"workspace": folder})
        modules = "llmos_workers.tasks,bench.overhead_tasks"
        with LocalSystem(config, env={"LLMOS_TASK_MODULES": modules}) as system:
            run(system, Path(folder), given.goals, rounds)


def run(system: LocalSystem, folder: Path, goals: int, rounds: int) -> None:
    """Measure all kinds in turn, round after round."""
    runtime = Runtime(system.config)
    projects = [f"bench-{number}" for number in range(PROJECTS)]
    for project in projects:
        learn_by_hand(runtime, project)
    app = make_app(system.config)
    output = folder / "projects" / projects[0] / "output"
    with LLMOS(system.config) as llmos:
        kinds = [
            Kind("replayed goal", lambda number: submit_goal(llmos, number)),
            Kind("bare steps", lambda number: send(app, "bench.bare", str(output), number)),
            Kind("no-op", lambda _number: send(app, "bench.noop")),
        ]
        for kind in kinds:  # warm: imports, sandbox, embedder
            measure(kind, system, 10)
            kind.rates, kind.cpu_ms, kind.commands, kind.latencies_ms = [], [], [], []
        for _ in range(rounds):
            for kind in kinds:
                measure(kind, system, goals)
        for number in range(goals):
            for kind in kinds[:1]:
                started = time.perf_counter()
                kind.submit(number)()
                kind.latencies_ms.append((time.perf_counter() - started) * 1000)
    show(*kinds, goals=goals, rounds=rounds)


def learn_by_hand(runtime: Runtime, project: str) -> None:
    """Store the trace that the goals follow, as a learning run would have left it."""
    from llmos_workers.contracts.trace import ExecutionTrace
    from llmos_workers.execution.recording import record_step
    from llmos_workers.learning.signature import goal_signature

    folder = runtime.workspace.project(project).ensure()
    calls = [
        ToolCall(name="Write", arguments={"path": "report.txt", "content": TEXT}),
        ToolCall(name="Read", arguments={"path": "report.txt"}),
        ToolCall(name="Bash", arguments={"command": "wc -l report.txt"}),
    ]
    steps: list[TraceStep] = []
    from llmos_workers.execution.tools.base import ToolContext

    context = ToolContext(
        project=project, area=folder.output, goal_id="bench", sandbox=runtime.sandbox
    )
    for turn, call in enumerate(calls):
        tool = runtime.tools.get(call.name)
        result = tool.run(call.arguments, context)
        assert result.ok, result
        steps.append(record_step(tool.spec, call, result, turn))
    signature = goal_signature(GOAL)
    runtime.traces.save_trace(
        ExecutionTrace(
            trace_id=signature,
            goal_signature=signature,
            goal_text=GOAL,
            project=project,
            steps=tuple(steps),
            answer="report.txt has 3 lines.",
            created_at="2026-01-01T00:00:00Z",
            learn_cost_micro=10_000,
        )
    )


def submit_goal(llmos: LLMOS, number: int) -> Callable[[], Any]:
    """One goal; every other one in other words."""
    project = f"bench-{number % PROJECTS}"
    handle = llmos.submit(GOAL if number // PROJECTS % 2 else REWORDED, project=project)

    def wait() -> Any:
        outcome = handle.result(TIMEOUT_SECS)
        if outcome.mode is not Mode.FOLLOWER or not outcome.ok:
            raise SystemExit(f"a goal was not replayed: {outcome.mode} {outcome.reason}")
        return outcome

    return wait


def send(app: Celery, name: str, *args: Any) -> Callable[[], Any]:
    """One bare task."""
    result: AsyncResult[Any] = app.send_task(name, args=args, queue="dispatch")
    return lambda: result.get(timeout=TIMEOUT_SECS)


def measure(kind: Kind, system: LocalSystem, count: int) -> None:
    """Submit ``count``, wait for all, and note rate, worker CPU and Redis commands per piece."""
    with redis.Redis.from_url(system.stack.redis_url) as server:
        commands, cpu = commands_so_far(server), worker_cpu(system)
        started = time.perf_counter()
        for wait in [kind.submit(number) for number in range(count)]:
            wait()
        seconds = time.perf_counter() - started
        kind.rates.append(count / seconds)
        kind.cpu_ms.append((worker_cpu(system) - cpu) * 1000 / count)
        kind.commands.append((commands_so_far(server) - commands) / count)


def commands_so_far(server: redis.Redis) -> int:
    """Commands that the server has processed."""
    info: dict[str, Any] = server.info("stats")
    return int(info["total_commands_processed"])


def worker_cpu(system: LocalSystem) -> float:
    """CPU seconds of all worker processes and what they started, so far."""
    tick = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in tree(list(system.stack.workers.values())):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(value) for value in fields[11:15])  # user, system, and of the reaped
    return total / tick


def tree(roots: list[int]) -> list[int]:
    """The processes and all that they started and that still live."""
    found, pending = [], roots
    while pending:
        pid = pending.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                pending += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def show(goal: Kind, bare: Kind, noop: Kind, *, goals: int, rounds: int) -> None:
    """Table and JSON; ratios are medians of the rounds' own ratios."""
    rows = [
        (
            kind.name,
            f"{statistics.median(kind.rates):.1f}",
            f"{statistics.median(kind.cpu_ms):.1f}",
            f"{statistics.median(kind.commands):.1f}",
        )
        for kind in (goal, bare, noop)
    ]
    table(
        f"{rounds} rounds of {goals} each, medians",
        ("kind", "per second", "worker CPU ms", "Redis commands"),
        rows,
    )

    def ratio(mine: list[float], theirs: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))

    finish(
        {
            "goals_per_s": statistics.median(goal.rates),
            "bare_per_s": statistics.median(bare.rates),
            "noop_per_s": statistics.median(noop.rates),
            "ratio": ratio(goal.rates, bare.rates),
            "noop_ratio": ratio(goal.rates, noop.rates),
            "cpu_ratio": ratio(goal.cpu_ms, bare.cpu_ms),
            "p50_ms": percentile(goal.latencies_ms, 0.5),
            "p99_ms": percentile(goal.latencies_ms, 0.99),
            "redis_commands_ours": statistics.median(goal.commands)
            - statistics.median(noop.commands),
            "redis_commands_total": statistics.median(goal.commands),
        }
    )


if __name__ == "__main__":
    main()
