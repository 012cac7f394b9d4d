"""``python -m llmos_workers.rehearsal``: the server as a process of its own."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from llmos_workers.rehearsal.server import RehearsalServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the first line of output is the URL."""
    parser = argparse.ArgumentParser(
        prog="python -m llmos_workers.rehearsal",
        description="A scripted stand-in for the Messages API. It is not a language model.",
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--log", type=Path, help="append what was served and charged, as JSONL")
    parser.add_argument("--skills", type=Path, help="folder of family files to use instead")
    parser.add_argument("--api-key", help="refuse other keys with 401")
    parser.add_argument("--control", type=Path, help="file whose lines are faults to come")
    parser.add_argument("--fault-rate", action="append", default=[], metavar="FAULT=P")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rates = {name: float(rate) for name, _, rate in (r.rpartition("=") for r in given.fault_rate)}
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = RehearsalServer(
        given.port,
        given.skills,
        given.log,
        given.api_key,
        fault_rates=rates,
        seed=given.seed,
        control_file=given.control,
    )
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
