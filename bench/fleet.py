"""What a fleet of workers costs and how it grows: replayed goals on real worker processes.

    python -m bench.fleet [--goals N] [--rounds N]

Three questions: how much more is done by two replay processes than by one (rounds in turn), how
many of our own Redis commands a replayed goal takes (those on the state database, as the server's
MONITOR shows them; Celery's own stand on the other two), and what a finished goal leaves in
Redis (MEMORY USAGE of every key of the state and result databases).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import redis

from bench.overhead import PROJECTS, learn_by_hand, submit_goal, tree
from bench.report import finish, table
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.config_sources import dump_config
from llmos_workers.embedded.keeper import ProcessKeeper, end, tail
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from llmos_workers.runtime import Runtime
from llmos_workers.worker import worker_command

START_SECS = 30.0
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|[0-9a-f]{16,40}|bench-\d+")
"""What differs between the keys of one kind: ids, digests, projects."""


class Monitor:
    """Context manager: counts the commands on one database while the block runs."""

    def __init__(self, url: str, db: int) -> None:
        self._client, self._db = redis.Redis.from_url(url), str(db)
        self.calls: Counter[str] = Counter()
        self.in_scripts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._end = f"bench-end-{id(self)}"

    def __enter__(self) -> Self:
        self._monitor = self._client.monitor().__enter__()  # type: ignore[no-untyped-call]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.echo(self._end)
        self._thread.join(START_SECS)
        self._client.close()

    def _read(self) -> None:
        for line in self._monitor.listen():
            if self._end in line["command"]:
                return
            if line["db"] == int(self._db):
                name = line["command"].partition(" ")[0].upper()
                found = self.in_scripts if line["client_type"] == "lua" else self.calls
                found[name] += 1


@dataclass
class Rates:
    """Goals per second in each round, and the second worker's peak memory."""

    one: list[float]
    two: list[float]
    peak_mb: float


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--goals", type=int, default=60, help="in each round")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        config = LLMOSConfig.from_dict({"workspace": folder})
        roles = {"dispatch": None, "replay": 1, "upkeep": None}
        with LocalSystem(config, roles=roles) as system:
            run(system, given.goals, given.rounds)


def run(system: LocalSystem, goals: int, rounds: int) -> None:
    """Measure all three and print them."""
    runtime = Runtime(system.config)
    for number in range(PROJECTS):
        learn_by_hand(runtime, f"bench-{number}")
    config = system.config
    with LLMOS(config) as llmos:
        replay(llmos, 2 * PROJECTS)  # warm: imports, sandbox, embedder, stages
        rates = scaling(system, llmos, goals, rounds)
        with Monitor(system.stack.redis_url, config.redis.state_db) as monitor:
            replay(llmos, goals)
        before = stored(config)
        replay(llmos, goals)
        after = stored(config)
    growth = {kind: (after[kind] - before[kind]) / goals for kind in after}
    show_commands(monitor, goals)
    show_memory(growth)
    ratios = [two / one for one, two in zip(rates.one, rates.two, strict=True)]
    peak = max(rates.peak_mb, peak_rss_mb(list(system.stack.workers.values())))
    finish(
        {
            "goals_per_s_1": statistics.median(rates.one),
            "goals_per_s_2": statistics.median(rates.two),
            "scaling_1_2": statistics.median(ratios),
            "redis_commands_ours_per_goal": sum((monitor.calls + monitor.in_scripts).values())
            / goals,
            "redis_calls_ours_per_goal": sum(monitor.calls.values()) / goals,
            "redis_bytes_per_finished_goal": round(sum(growth.values())),
            "peak_rss_mb": peak,
            "goals": goals,
            "rounds": rounds,
        }
    )


def replay(llmos: LLMOS, count: int) -> float:
    """Submit ``count`` goals and wait for all; how many ended in a second."""
    started = time.perf_counter()
    for wait in [submit_goal(llmos, number) for number in range(count)]:
        wait()
    return count / (time.perf_counter() - started)


def scaling(system: LocalSystem, llmos: LLMOS, goals: int, rounds: int) -> Rates:
    """Goals per second of one and of two replay processes, a round of each in turn."""
    rates = Rates([], [], 0.0)
    for _ in range(rounds):
        rates.one.append(replay(llmos, goals))
        with second_worker(system) as pid:
            replay(llmos, 2 * PROJECTS)  # a new process warms up
            rates.two.append(replay(llmos, goals))
            rates.peak_mb = max(rates.peak_mb, peak_rss_mb([pid]))
    return rates


@contextmanager
def second_worker(system: LocalSystem) -> Iterator[int]:
    """One more replay worker while the block runs; its process id."""
    folder = system.stack.log_folder
    settings = folder / "second.json"
    settings.touch(mode=0o600)
    settings.write_text(dump_config(system.config), encoding="utf-8")
    command = worker_command("replay", 1, name=f"second-{os.getpid()}", parent=os.getpid())
    keeper = ProcessKeeper()
    env = os.environ | {"LLMOS_CONFIG": str(settings)}
    process = keeper.spawn(command, log=folder / "second.log", env=env)
    try:
        deadline = time.monotonic() + START_SECS
        with connect(system.config.redis) as state:
            while not any(worker["pid"] == process.pid for worker in live_workers(state)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(
                        f"the second worker did not start: {tail(folder / 'second.log')}"
                    )
                time.sleep(0.05)
        yield process.pid
    finally:
        end(process, grace_secs=START_SECS)
        keeper.close()
        settings.unlink()


def stored(config: LLMOSConfig) -> Counter[str]:
    """Bytes in Redis by kind of key, of state and results."""
    sizes: Counter[str] = Counter()
    for what, db in (("state", config.redis.state_db), ("results", config.redis.result_db)):
        with connect(config.redis, db=db) as client:
            names = list(client.scan_iter(count=1000))
            with client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.memory_usage(name, samples=0)
                found = pipe.execute()
            for name, size in zip(names, cast(list[int | None], found), strict=True):
                sizes[f"{what} {IDS.sub('*', name.decode())}"] += size or 0
    return sizes


def peak_rss_mb(pids: list[int]) -> float:
    """The most memory that any of the processes and what they started has had, in MB."""
    peaks = [0.0]
    for pid in tree(pids):
        with suppress(OSError):
            found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
            peaks.append(int(found[1]) / 1024 if found else 0.0)
    return max(peaks)


def show_commands(monitor: Monitor, goals: int) -> None:
    """Table of our commands for one goal."""
    names = sorted(
        monitor.calls | monitor.in_scripts,
        key=lambda name: -(monitor.calls[name] + monitor.in_scripts[name]),
    )
    rows: list[tuple[Any, ...]] = [
        (name, f"{monitor.calls[name] / goals:.1f}", f"{monitor.in_scripts[name] / goals:.1f}")
        for name in names
        if monitor.calls[name] + monitor.in_scripts[name] >= goals / 10
    ]
    table("our Redis commands for one replayed goal", ("command", "sent", "in scripts"), rows)


def show_memory(growth: dict[str, float]) -> None:
    """Table of what one finished goal leaves."""
    rows = [
        (kind, f"{size:.0f}")
        for kind, size in sorted(growth.items(), key=lambda item: -item[1])
        if abs(size) >= 1
    ]
    table("bytes in Redis for one finished goal", ("keys", "bytes"), rows)


if __name__ == "__main__":
    main()
