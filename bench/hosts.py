"""A fleet over several hosts whose links are cut and healed: does every guarantee hold?

    python -m bench.hosts [--goals N] [--seed S]

A broker host and two worker hosts, each with its own network, name, process numbers and mount of
the shared workspace (namespaces of this machine; no Docker). Server, users and rights are those of
deploy/: workers run as ``llmos-worker``, goals come from ``llmos-producer``. While goals of all
kinds run, one host's link is cut for longer than a lease, three times in three ways, and healed:
nothing arrives any more; the cable is out and the broker forgets the connections meanwhile; the
host of the only dispatch worker. At the end everything is counted as in bench.chaos. Exit code 1
when a guarantee is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from bench.chaos_parts import checks
from bench.chaos_parts.bell import BELL_FILE
from bench.chaos_parts.evidence import Evidence
from bench.chaos_parts.population import AGENT, BELL_AGENT, plan, write_families
from bench.chaos_parts.settings import settings
from bench.hosts_parts.broker import OPERATOR, Broker
from bench.hosts_parts.driver import Cut, CutSeen, Driver
from bench.hosts_parts.network import BROKER, Host, enter, missing
from bench.report import finish, table
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.config_sources import dump_config
from llmos_workers.evolution.seed import install_seed_agents
from llmos_workers.kernel.workers import live_workers
from llmos_workers.rehearsal.server import RehearsalServer
from llmos_workers.worker import worker_command

ROLES = (
    {"dispatch": 2, "llm": 3, "replay": 1, "upkeep": 1},
    {"llm": 3, "replay": 1},
)
"""Of each host: role -> slots. One dispatch worker: it owns the index."""

SILENCE_SECS = 6
"""How long a connection may be silent (redis.silence_secs): the default would make a long bench."""

START_SECS = 120.0
STOP_SECS = 20.0


def main() -> int:
    """Run and judge; 1 when a guarantee is broken, 2 where hosts cannot be made."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--goals", type=int, default=400, help="most goals that are submitted")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, help="folder to work in, kept for a look")
    given = options.parse_args()
    if not os.environ.get("HOSTS_INSIDE") and (why := missing()):
        sys.stderr.write(f"{why}\n")
        return 2
    enter("bench.hosts", sys.argv[1:])
    with contextlib.ExitStack() as stack:
        if given.keep is None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="llmos-hosts-"))
        else:
            given.keep.mkdir(parents=True)
            made = str(given.keep)
        began = time.monotonic()
        found = run(Path(made).resolve(), given.goals, given.seed)
        return report(*found, seconds=time.monotonic() - began)


def run(
    folder: Path, goals: int, seed: int
) -> tuple[Evidence, list[CutSeen], list[str], list[str]]:
    """The whole run in ``folder``: evidence, cuts, deaths of workers, and what was refused."""
    shared = folder / "shared"
    shared.mkdir()
    install_seed_agents(shared)
    (shared / "agents" / f"{BELL_AGENT}.md").write_text(AGENT, encoding="utf-8")
    skills = write_families(folder / "skills")
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(folder / "redis"))
        model = RehearsalServer(skills=skills, host=BROKER, fault_rates={"slow:0.05": 0.5})
        stack.enter_context(model)
        hosts = [
            stack.enter_context(Host(number, shared, folder / f"host-{number}"))
            for number in (1, 2)
        ]
        operator = stack.enter_context(LLMOS(_settings(shared, broker.url(OPERATOR), model.url)))
        producer = stack.enter_context(LLMOS(_settings(shared, broker.url("producer"), "")))
        for host, roles in zip(hosts, ROLES, strict=True):
            start(host, roles, _settings(host.workspace, broker.url("worker"), model.url))
        _wait_until_ready(operator, hosts)
        say(f"{sum(len(host.programs) for host in hosts)} workers on {len(hosts)} hosts are up")
        driver = Driver(operator, producer, broker, plan(goals, random.Random(seed)), say)
        try:
            driver.run(_cuts(*hosts))
        finally:
            dead = [words for host in hosts for words in host.dead()]
        found = driver.evidence(model.log, shared / "bells.txt")
        for host in hosts:
            host.stop(STOP_SECS)
        return found, driver.seen, dead, broker.refusals()


def _cuts(first: Host, second: Host) -> list[Cut]:
    """Shorter than the silence after which a connection is given up, and longer."""
    lease = checks.LEASE_SECS
    return [
        Cut(second, silent=True, seconds=1.5 * lease),
        Cut(second, silent=False, seconds=SILENCE_SECS + 2 * lease, forgotten=True),
        Cut(first, silent=True, seconds=SILENCE_SECS + 2 * lease),
    ]


def start(host: Host, roles: dict[str, int], config: LLMOSConfig) -> None:
    """Start a host's workers."""
    file = host.folder / "config.json"
    file.write_text(dump_config(config), encoding="utf-8")
    env = {
        "PATH": os.environ["PATH"],
        "LLMOS_CONFIG": str(file),
        "LLMOS_TASK_MODULES": "llmos_workers.tasks,bench.chaos_parts.bell",
        BELL_FILE: str(host.workspace / "bells.txt"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    for role, slots in roles.items():
        name = f"{role}-{host.number}"
        host.start(name, worker_command(role, slots, name=name, log_level="INFO"), env)


def _settings(workspace: Path, url: str, model_url: str) -> LLMOSConfig:
    return settings(workspace, model_url, url=url, silence_secs=SILENCE_SECS)


def _wait_until_ready(llmos: LLMOS, hosts: list[Host]) -> None:
    deadline = time.monotonic() + START_SECS
    while len(live_workers(llmos.redis)) < sum(len(host.programs) for host in hosts):
        dead = [words for host in hosts for words in host.dead()]
        if dead or time.monotonic() > deadline:
            raise SystemExit(f"the hosts' workers did not start: {dead}")
        time.sleep(0.1)


def report(
    found: Evidence, seen: list[CutSeen], dead: list[str], refused: list[str], *, seconds: float
) -> int:
    """Tables and the line of JSON; the exit code."""
    rows = [
        (s.cut.what, f"{s.seconds:.1f}", s.held, s.taken, f"{s.beats:.1f}", f"{s.back:.1f}")
        for s in seen
    ]
    head = ("cut", "s", "goals held", "taken over", "heard again after s", "at work after s")
    table("Links that were cut and healed", head, rows)
    ends: dict[str, int] = {}
    for goal in found.goals:
        ends[goal.status or goal.state] = ends.get(goal.status or goal.state, 0) + 1
    table("How the goals ended", ("state", "goals"), sorted(ends.items()))
    broken = {name: list(check(found)) for name, check in checks.CHECKS.items()}
    broken |= {
        "not_taken_over": [s.cut.what for s in seen if s.taken < s.held],
        "died_unasked": dead,
        "refused_by_broker": refused,
    }
    for name, words in broken.items():
        for word in words[:10]:
            print(f"BROKEN {name}: {word}")
    overspent = checks.overspent(found)
    finish(
        {
            "hosts": 3,
            "goals": len(found.goals),
            "cuts": len(seen),
            "taken_over": sum(s.taken for s in seen),
            **{name: len(words) for name, words in broken.items()},
            "overspent_microdollars": overspent,
            "in_doubt": sum(line.kind == "doubt" for line in found.ledger),
            "worst_heard_again_s": max((s.beats for s in seen), default=0.0),
            "worst_at_work_s": max((s.back for s in seen), default=0.0),
            "seconds": seconds,
        }
    )
    return 1 if overspent or any(broken.values()) else 0


def say(words: str) -> None:
    """Progress."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
