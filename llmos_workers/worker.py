"""One worker process of a role: ``python -m llmos_workers.worker --role llm``.

``llmos worker ROLE`` and the embedded stack start workers through here, so that a role's pool,
concurrency and prefetch are said once.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from llmos_workers.contracts.errors import ConfigError, LLMOSError

ROLE_VARIABLE = "LLMOS_ROLE"
REMAP_VARIABLE = "REMAP_SIGTERM"
PARENT_POLL_SECS = 1.0


@dataclass(frozen=True)
class Role:
    """How a worker of one role runs."""

    queues: tuple[str, ...]
    pool: str
    concurrency: int
    prefetch: int | None
    """Messages held per slot; None: only what runs."""


ROLES = {
    # Threads: owns the embedded index, which does not survive a fork.
    "dispatch": Role(("dispatch",), "threads", 4, 2),
    # Waits on the API nearly all the time; one waiting message would wait for minutes.
    "llm": Role(("llm",), "threads", 20, None),
    # CPU-bound, and a replayed tool that takes a process down takes only its child.
    "replay": Role(("replay",), "prefork", 2, 2),
    "upkeep": Role(("upkeep",), "threads", 1, None),
}


def find_role(name: str) -> Role:
    """The preset of that name. Raises ConfigError."""
    if name not in ROLES:
        raise ConfigError(f"unknown worker role {name!r}.", fix=f"Known: {', '.join(ROLES)}.")
    return ROLES[name]


def worker_arguments(
    role: str, concurrency: int | None = None, *, name: str | None = None, log_level: str = "INFO"
) -> list[str]:
    """Arguments of Celery's ``worker`` command for a role. Raises ConfigError.

    ``name`` is the worker's name without host; by default the role and the process id.
    """
    preset = find_role(role)
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency must be 1 or more, not {concurrency}.")
    prefetch = ["--disable-prefetch"]
    if preset.prefetch is not None:
        prefetch = ["--prefetch-multiplier", str(preset.prefetch)]
    return [
        "worker",
        "--queues", ",".join(preset.queues),
        "--pool", preset.pool,
        "--concurrency", str(concurrency or preset.concurrency),
        "--hostname", f"{name or f'{role}-{os.getpid()}'}@%h",
        "--loglevel", log_level,
        *prefetch,
        "--without-gossip",
        "--without-mingle",
    ]  # fmt: skip


def worker_command(
    role: str,
    concurrency: int | None = None,
    *,
    name: str | None = None,
    log_level: str | None = None,
    parent: int | None = None,
) -> list[str]:
    """argv of such a worker process; it ends when the process ``parent`` does."""
    find_role(role)
    options = {
        "--concurrency": concurrency, "--name": name, "--parent": parent, "--log-level": log_level,
    }  # fmt: skip
    given = [part for key, value in options.items() if value for part in (key, str(value))]
    return [sys.executable, "-m", "llmos_workers.worker", "--role", role, *given]


def exec_worker(role: str, concurrency: int | None = None, *, log_level: str | None = None) -> None:
    """Become a worker of that role; returns only by raising ConfigError."""
    argv = worker_command(role, concurrency, log_level=log_level)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(argv[0], argv)  # noqa: S606 - a fresh interpreter is the point


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m llmos_workers.worker", description=__doc__)
    parser.add_argument("--role", required=True, choices=sorted(ROLES))
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--name")
    parser.add_argument("--log-level")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args(argv)
    if given.parent:
        _end_with(given.parent)
    os.environ[ROLE_VARIABLE] = given.role
    if find_role(given.role).pool == "prefork":
        # Read by billiard at its import: TERM then means Celery's soft shutdown, which has a
        # time limit. Thread pools cannot do that; they drain cooperatively.
        os.environ[REMAP_VARIABLE] = "SIGQUIT"
    try:
        # By name: the app is made when the module is asked for it.
        app = import_module("llmos_workers.app").app
        level = given.log_level or app.llmos_config.logging.level
        arguments = worker_arguments(
            given.role, given.concurrency, name=given.name, log_level=level
        )
        return int(app.worker_main(arguments) or 0)
    except LLMOSError as error:
        sys.stderr.write(f"llmos: {error}\n")
        return error.exit_code


def _end_with(parent: int) -> None:
    """End this process at once when ``parent`` is no longer its parent.

    Where the kernel does that (Linux, see embedded/launch.py) this is only for the moment
    before it was asked to; elsewhere it is the only way to leave no orphan.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECS)
        os._exit(70)

    threading.Thread(target=watch, name="llmos-parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
