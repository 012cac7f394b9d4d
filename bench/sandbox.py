"""What the sandbox costs: one confined command beside the same one with bare subprocess.run.

    python -m bench.sandbox [--calls N] [--rounds N] [--long]

Three ways to run one small bash command, interleaved in rounds: bare, through the sandbox, and
through the Bash tool (the sandbox, and what is noted about the files of a small area). CPU time
is that of this process, of the zygote, and of all that they started.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import finish, table
from llmos_workers.config import SecurityConfig
from llmos_workers.execution.sandbox import make_sandbox, probe
from llmos_workers.execution.sandbox.zygote import ZYGOTE
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry

COMMAND = "echo hello"
ARGV = ["/bin/bash", "-c", COMMAND]


@dataclass
class Way:
    """One way to run the command; milliseconds for each call, by round."""

    name: str
    call: Callable[[], Any]
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=100, help="of each way in each round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--long", action="store_true", help="ten times as many rounds")
    given = options.parse_args()
    report = probe()
    if report.level < 1:
        raise SystemExit(f"this host cannot confine commands: {'; '.join(report.reasons)}")
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        area = Path(folder) / "area"
        area.mkdir()
        for number in range(5):
            (area / f"file-{number}.txt").write_text("some text\n")
        ways = make_ways(area)
        for way in ways:  # warm: the zygote, caches
            measure(way, 10)
            way.wall_ms, way.cpu_ms = [], []
        for _ in range(given.rounds * (10 if given.long else 1)):
            for way in ways:
                measure(way, given.calls)
    show(*ways, calls=given.calls)


def make_ways(area: Path) -> list[Way]:
    """Bare, confined, and the Bash tool."""
    sandbox = make_sandbox(SecurityConfig())
    sandbox.prepare(area)
    bash = ToolRegistry.builtin().get("Bash")
    context = ToolContext(project="bench", area=area, goal_id="bench", sandbox=sandbox)

    def bare() -> None:
        done = subprocess.run(ARGV, cwd=area, capture_output=True, check=True)
        assert done.stdout == b"hello\n"

    def confined() -> None:
        assert sandbox.run(ARGV, cwd=area, timeout_s=30).output == "hello\n"

    def tool() -> None:
        assert bash.run({"command": COMMAND}, context).output == "hello\n"

    return [Way("bare", bare), Way("confined", confined), Way("Bash tool", tool)]


def measure(way: Way, calls: int) -> None:
    """Note the wall and CPU time of one call, over ``calls`` in a row."""
    cpu, started = cpu_seconds(), time.perf_counter()
    for _ in range(calls):
        way.call()
    way.wall_ms.append((time.perf_counter() - started) * 1000 / calls)
    way.cpu_ms.append((cpu_seconds() - cpu) * 1000 / calls)


def cpu_seconds() -> float:
    """CPU time so far: ours, our children's, and the zygote's with its children's."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    if ZYGOTE.pid:
        fields = Path(f"/proc/{ZYGOTE.pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return total


def show(bare: Way, confined: Way, tool: Way, *, calls: int) -> None:
    """Table and JSON; ratios are medians of the rounds' own ratios."""

    def ratio(mine: list[float], theirs: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))

    rows = [
        (
            way.name,
            f"{statistics.median(way.wall_ms):.2f}",
            f"{statistics.median(way.cpu_ms):.2f}",
            f"{ratio(way.wall_ms, bare.wall_ms):.2f}",
            f"{ratio(way.cpu_ms, bare.cpu_ms):.2f}",
        )
        for way in (bare, confined, tool)
    ]
    title = f"bash -c {COMMAND!r}: {len(bare.wall_ms)} rounds of {calls} each, medians"
    table(title, ("way", "wall ms", "CPU ms", "times bare wall", "times bare CPU"), rows)
    finish(
        {
            "confined_ms": statistics.median(confined.wall_ms),
            "bare_ms": statistics.median(bare.wall_ms),
            "ratio": ratio(confined.wall_ms, bare.wall_ms),
            "cpu_confined_ms": statistics.median(confined.cpu_ms),
            "cpu_bare_ms": statistics.median(bare.cpu_ms),
        }
    )


if __name__ == "__main__":
    main()
