"""The fleet of a chaos run: a server and several worker processes a role, kept alive.

Each process leads a session of its own, and only these sessions are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmos_workers.config import LLMOSConfig
from llmos_workers.config_keys import ENV_PREFIX, SHORT_VARIABLES
from llmos_workers.config_sources import dump_config
from llmos_workers.embedded.keeper import ProcessKeeper, end, kill_session, tail
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from llmos_workers.worker import worker_command

MARK = "CHAOS_RUN"
"""Environment of everything a run starts: how its orphans are found."""

# One dispatch worker: a single process owns the embedded index.
ROLES = {"dispatch": (1, 3), "llm": (2, 6), "replay": (2, 2), "upkeep": (2, 1)}
"""Role -> how many processes, and slots of each."""

READY_SECS = 120.0
RESTART_SECS = 0.3
STOP_SECS = 15.0


class Member:
    """One worker process and its successors."""

    def __init__(self, role: str, number: int, slots: int) -> None:
        self.role, self.slots = role, slots
        self.name = f"{role}-{number}-{os.getpid()}"
        self.process: subprocess.Popen[bytes] | None = None
        self.died: float | None = None
        self.killed = False
        """Whether its next death is ours."""

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else None


class Fleet:
    """Context manager: server and workers run inside of the block."""

    def __init__(self, config: LLMOSConfig, folder: Path, env: Mapping[str, str]) -> None:
        self._given, self.folder = config, folder
        self.mark = secrets.token_hex(8)
        self._keeper = ProcessKeeper()
        self.server = EmbeddedServer(folder / "redis", keeper=self._keeper)
        self._env = {**_inherited(), **env, MARK: self.mark}
        self.members = [
            Member(role, number, slots)
            for role, (count, slots) in ROLES.items()
            for number in range(count)
        ]
        self.unexpected: list[str] = []
        """Deaths that nobody asked for."""
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._watcher = threading.Thread(target=self._watch, name="chaos-fleet", daemon=True)

    @property
    def config(self) -> LLMOSConfig:
        """The configuration with the server's address."""
        redis = self._given.redis.model_copy(update={"url": self.server.url})
        return self._given.model_copy(update={"redis": redis})

    def __enter__(self) -> Fleet:
        try:
            self.server.start()
            file = self.folder / "config.json"
            file.touch(mode=0o600)
            file.write_text(dump_config(self.config), encoding="utf-8")
            self._env |= {"LLMOS_CONFIG": str(file)}
            for member in self.members:
                self._start(member)
            self._wait_until_ready()
            self._watcher.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for member in self.members:
            if member.pid is not None and member.process is not None:
                member.process.terminate()
        deadline = time.monotonic() + STOP_SECS
        for member in self.members:
            if member.process is not None:
                left = max(0.1, deadline - time.monotonic())
                end(member.process, grace_secs=left, asked=True)
        self.server.stop()
        self._keeper.close()

    # -- mischief ----------------------------------------------------------------------------

    def pids(self, role: str) -> list[int]:
        """Process ids of a role's workers that run."""
        return [m.pid for m in self.members if m.role == role and m.pid is not None]

    def children(self, pid: int) -> list[int]:
        """The pool processes of a worker."""
        found: list[int] = []
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
        return found

    def kill(self, pid: int) -> None:
        """``kill -9`` of a worker (its next process starts by itself) or a pool process."""
        with self._lock:
            for member in self.members:
                if member.pid == pid:
                    member.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def restart_server(self, *, hard: bool) -> None:
        """End the server, by ``kill -9`` or in order, and start it again on its data."""
        process = self.server._process
        if hard and process is not None:
            process.kill()
            process.wait()
        else:
            self.server.stop()
        self.server.start()

    # -- inside ------------------------------------------------------------------------------

    def _start(self, member: Member) -> None:
        argv = worker_command(
            member.role, member.slots, name=member.name, log_level="WARNING", parent=os.getpid()
        )
        log = self.folder / f"{member.name}.log"
        member.process = self._keeper.spawn(argv, log=log, env=self._env)
        member.died, member.killed = None, False

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            with self._lock:
                for member in self.members:
                    self._revive(member)

    def _revive(self, member: Member) -> None:
        if member.process is None or member.pid is not None:
            return
        if member.died is None:
            member.died = time.monotonic()
            kill_session(member.process)
            if not member.killed:
                said = tail(self.folder / f"{member.name}.log", 3)
                self.unexpected.append(f"{member.name}: {member.process.returncode}: {said}")
        if time.monotonic() - member.died >= RESTART_SECS:
            self._start(member)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECS
        with connect(self.config.redis) as state:
            while {m.pid for m in self.members} - {w["pid"] for w in live_workers(state)}:
                if time.monotonic() > deadline or any(m.pid is None for m in self.members):
                    raise SystemExit(f"the fleet did not start; see {self.folder}")
                time.sleep(0.05)


def _inherited() -> dict[str, str]:
    """The environment without settings that could overrule the run's configuration."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in SHORT_VARIABLES and not (name.startswith(ENV_PREFIX) and "__" in name)
    }


def orphans(mark: str, workspace: Path, known: Iterable[int]) -> list[str]:
    """Processes of the run, by its mark or by where they work, that no ``known`` one is or has
    started.
    """
    rest, found = set(known) | {os.getpid()}, list[str]()
    parents: dict[int, int] = {}
    ours: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        pid = int(folder.name)
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if stat[0] in "ZX":
                continue
            parents[pid] = int(stat[1])
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            inside = (folder / "cwd").resolve().is_relative_to(workspace)
        except OSError:
            continue
        if marked or inside:
            ours[pid] = words
    for pid, words in ours.items():
        at = pid
        while at and at not in rest:
            at = parents.get(at, 0)
        if not at:
            found.append(f"{pid}: {words[:120]}")
    return found
