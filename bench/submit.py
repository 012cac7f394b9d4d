"""What handing in a goal costs a shell: ``llmos submit --no-wait`` beside bare ``send_task``.

    python -m bench.submit [--rounds N] [--long]

Both are whole processes, from start to exit, against the same private server, by turns in the
same run. The bare one is the least a Celery user can write: an app with a broker and one
``send_task``. A Python that does nothing is measured too, since both contain it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

from bench.report import finish, percentile, table
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.kernel.wire import queue_lists

GOAL = "Create the report file report.txt and count its lines"
BARE = f"""\
import sys
from celery import Celery

app = Celery(broker=sys.argv[1])
app.send_task("llmos.goal", kwargs={{"goal": "{GOAL}"}}, queue="dispatch")
"""
ROUNDS, LONG_ROUNDS = 25, 120


@dataclass
class Kind:
    """One way, with what its processes took."""

    name: str
    argv: list[str]
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def run(self, folder: Path, env: Mapping[str, str]) -> None:
        """Run it once, to its exit."""
        began = time.perf_counter()
        process = subprocess.Popen(self.argv, cwd=folder, env=env, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.name} ended with {process.returncode}")
        self.wall_ms.append(1e3 * wall)
        self.cpu_ms.append(1e3 * (used.ru_utime + used.ru_stime))

    def forget(self) -> None:
        """Drop what warming up took."""
        self.wall_ms.clear()
        self.cpu_ms.clear()


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--long", action="store_true", help=f"{LONG_ROUNDS} rounds")
    given = options.parse_args()
    rounds = LONG_ROUNDS if given.long else max(1, given.rounds)
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as place:
        folder = Path(place)
        with EmbeddedServer(folder / "redis") as server:
            kinds = ways(folder, server.url)
            measure(kinds, rounds, folder, server.url)
            check_queue(server.url, expected=2 * (rounds + 1))
    report(kinds, rounds)


def ways(folder: Path, url: str) -> list[Kind]:
    """The two ways, and the floor they stand on."""
    script = folder / "bare.py"
    script.write_text(BARE)
    llmos = str(Path(sys.executable).with_name("llmos"))
    return [
        Kind("llmos submit --no-wait", [llmos, "submit", "--no-wait", GOAL]),
        Kind("Celery().send_task", [sys.executable, str(script), f"{url}/0"]),
        Kind("python -c pass", [sys.executable, "-c", "pass"]),
    ]


def measure(kinds: list[Kind], rounds: int, folder: Path, url: str) -> None:
    """By turns, the first of a round changing, so that drift of the machine hits all alike."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LLMOS_")}
    env["LLMOS_REDIS_URL"] = url
    for kind in kinds:
        kind.run(folder, env)
        kind.forget()
    for number in range(rounds):
        shift = number % len(kinds)
        for kind in [*kinds[shift:], *kinds[:shift]]:
            kind.run(folder, env)


def check_queue(url: str, *, expected: int) -> None:
    """Both ways really queued their goals."""
    with redis.Redis.from_url(f"{url}/0") as broker:
        queued = sum(broker.llen(name) for name in queue_lists("dispatch"))
    if queued != expected:
        raise SystemExit(f"{queued} messages are queued, not {expected}")


def report(kinds: list[Kind], rounds: int) -> None:
    """Table and JSON."""
    rows = [
        (
            kind.name,
            f"{statistics.median(kind.wall_ms):.1f}",
            f"{percentile(kind.wall_ms, 0.9):.1f}",
            f"{statistics.median(kind.cpu_ms):.1f}",
        )
        for kind in kinds
    ]
    head = ("process", "median ms", "p90 ms", "CPU ms")
    table(f"One goal handed in, as a whole process ({rounds} rounds)", head, rows)
    ours, bare, python = kinds
    wall = {kind.name: statistics.median(kind.wall_ms) for kind in kinds}
    finish(
        {
            "ratio": wall[ours.name] / wall[bare.name],
            "cpu_ratio": statistics.median(ours.cpu_ms) / statistics.median(bare.cpu_ms),
            "submit_ms": wall[ours.name],
            "send_task_ms": wall[bare.name],
            "python_ms": wall[python.name],
            "rounds": rounds,
        }
    )


if __name__ == "__main__":
    main()
