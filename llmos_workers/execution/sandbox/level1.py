"""Level 1: Landlock, seccomp, limits, another user where possible, and a whole-tree kill.

Each command is started by a launcher process of its own (see confined.jail), forked by a small
zygote process (see confined.zygote): nothing is forked from a worker with threads. Known to stay
open: a process of the same user may change modes and times of that user's files outside (only
when the worker is not root), and sizes and names of files can be seen.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.execution.sandbox.base import Limits, Network, SandboxReport, SandboxResult
from llmos_workers.execution.sandbox.confined import landlock, seccomp
from llmos_workers.execution.sandbox.identity import (
    Identity,
    can_change_user,
    give_away,
    identity_of,
)
from llmos_workers.execution.sandbox.launch import carry_out

logger = logging.getLogger(__name__)

MIN_LANDLOCK_ABI = 2
"""The first version with which files can be renamed across folders of the area."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


PROXY = "http://127.0.0.1:3128"
"""Where a command with a network finds its proxy; as in confined.network."""
PROXY_NAMES = ("http_proxy", "https_proxy", "HTTPS_PROXY")
"""HTTP_PROXY is for CGI programs to fear."""


class ConfinedSandbox:
    """Runs commands at level 1. ``limits`` hold where a call names none."""

    level = 1

    def __init__(self, limits: Limits | None = None, *, network_required: bool = False) -> None:
        """``network_required``: where no network can be given, what is granted one is refused."""
        self.limits = limits or Limits()
        self._network_required = network_required
        # Own Pythons live in odd places; without theirs, python3 may be missing inside.
        prefix = os.path.realpath(sys.base_prefix)
        own = prefix not in ("/", "/usr", "/usr/local", str(Path.home()))
        self._interpreter = [prefix] if own else []

    def prepare(self, area: Path) -> None:
        """As root, give the area to the user that its commands run as."""
        give_away(area)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout_s: float,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
        cancelled: Callable[[], bool] | None = None,
        network: Network | None = None,
    ) -> SandboxResult:
        """See Sandbox.run. Raises SandboxUnavailable when the command could not be confined, and
        where it is to have a network and this host has none to give (or goes without one).
        """
        limits = limits or self.limits
        notes: tuple[str, ...] = ()
        if network is not None and (missing := network_fault()):
            if self._network_required:
                raise SandboxUnavailable(
                    f"no command can be given a network of its own here: {missing}.",
                    fix="Take network out of the agent's file, or see llmos doctor.",
                )
            logger.error("a command runs WITHOUT the network it was granted: %s", missing)
            network, notes = None, (f"no network: {missing}",)
        try:
            more = [("env", f"{name}={value}") for name, value in (env or {}).items()]
            more.append(("timeout", repr(timeout_s)))
            done = self.attempt(argv, cwd, more, limits, cancelled=cancelled, network=network)
        finally:
            if network is not None:
                network.close()
        return replace(done, notes=notes) if notes else done

    def attempt(
        self,
        argv: Sequence[str],
        cwd: Path,
        more: list[tuple[str, str]],
        limits: Limits,
        *,
        cancelled: Callable[[], bool] | None = None,
        network: Network | None = None,
    ) -> SandboxResult:
        """The same, whatever this host was found to be able to do; ``more`` joins the order."""
        area = Path(os.path.realpath(cwd))
        identity = identity_of(area, self._interpreter)
        scratch = tempfile.mkdtemp(prefix="llmos-run-")
        try:
            if identity is not None:
                os.chown(scratch, identity.uid, identity.gid)
            order = self._order(argv, area, scratch, limits, identity)
            order += more
            if network is not None:
                order += [("network", "1"), *(("env", f"{name}={PROXY}") for name in PROXY_NAMES)]
            return carry_out(order, limits.output, cancelled or _never, network)
        finally:
            try:
                Path(scratch).rmdir()  # most commands leave nothing in it
            except OSError:
                shutil.rmtree(scratch, ignore_errors=True)

    def _order(
        self,
        argv: Sequence[str],
        area: Path,
        scratch: str,
        limits: Limits,
        identity: Identity | None,
    ) -> list[tuple[str, str]]:
        """The launcher's order; its form is described in confined.jail."""
        path = ":".join([SEARCH_PATH, *(f"{prefix}/bin" for prefix in self._interpreter)])
        processes = limits.processes
        if identity is None:
            processes += _own_threads(int(time.monotonic()))
        order = [("argv", word) for word in argv]
        order += [("readable", path) for path in self._interpreter]
        order += [("writable", str(area)), ("writable", scratch)]
        order += [
            ("cwd", str(area)),
            ("scratch", scratch),
            ("env", f"PATH={path}"),
            ("env", f"HOME={scratch}"),
            ("env", f"TMPDIR={scratch}"),
            ("env", "LANG=C.UTF-8"),
            # Without it bash loads the name service to look it up at each start.
            ("env", "SHELL=/bin/bash"),
            ("env", "PYTHONDONTWRITEBYTECODE=1"),
            ("limit", "CORE:0"),
            ("limit", f"CPU:{limits.cpu}"),
            ("limit", f"FSIZE:{limits.file_size}"),
            ("limit", f"DATA:{limits.memory}"),
            ("limit", f"AS:{max(4 * limits.memory, 8 << 30)}"),
            ("limit", f"NOFILE:{limits.open_files}"),
            ("limit", f"NPROC:{processes}"),
            ("memory", str(limits.memory)),
            ("processes", str(limits.processes)),
            ("disk", str(limits.disk)),
        ]
        if identity is not None:
            order += [("uid", str(identity.uid)), ("gid", str(identity.gid))]
            order += [("search", "1")] if identity.search else []
        return order


def _never() -> bool:
    return False


@functools.lru_cache(maxsize=1)
def _own_threads(_second: int) -> int:
    """Threads of our user: RLIMIT_NPROC counts them all, not just the command's.

    Counted at most once in a second: it looks at every process of the machine.
    """
    total, uid = 0, os.getuid()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    total += len(os.listdir(f"{entry.path}/task"))  # noqa: PTH208
            except OSError:
                continue
    return total


@functools.cache
def probe() -> SandboxReport:
    """What this host can do, found by trying; once per process."""
    if not sys.platform.startswith("linux"):
        return SandboxReport(0, 0, False, (f"{platform.system()} has no Landlock",))
    reasons = []
    abi, filters = landlock.abi(), seccomp.supported()
    if abi < MIN_LANDLOCK_ABI:
        reasons.append(
            f"Landlock ABI {MIN_LANDLOCK_ABI} (Linux 5.19) is needed, here: {abi or 'none'}"
        )
    if not filters:
        reasons.append(f"no system call numbers for {platform.machine()}")
    if reasons:
        return SandboxReport(0, abi, filters, tuple(reasons))
    other = can_change_user()
    with tempfile.TemporaryDirectory(prefix="llmos-probe-") as folder:
        sandbox = ConfinedSandbox()
        sandbox.prepare(Path(folder))
        try:
            tried = sandbox.run(["/bin/sh", "-c", "exit 7"], cwd=Path(folder), timeout_s=10)
        except SandboxUnavailable as error:
            return SandboxReport(0, abi, False, (error.message,))
    if tried.exit_code != 7:
        return SandboxReport(0, abi, False, (f"a trial command ended with {tried.exit_code}",))
    return SandboxReport(1, abi, True, tuple(_open_holes(abi, other)), other_user=other)


class _Nobody:
    """A network on which nobody answers."""

    def serve(self, listener: socket.socket) -> None:
        listener.close()

    def close(self) -> None:
        return


@functools.cache
def network_fault() -> str:
    """Why this host can give commands no network of their own; "" when it can. Found by trying,
    once per process.
    """
    with tempfile.TemporaryDirectory(prefix="llmos-probe-") as folder:
        sandbox, area = ConfinedSandbox(), Path(folder)
        sandbox.prepare(area)
        try:
            sandbox.attempt(["/bin/true"], area, [("timeout", "10")], Limits(), network=_Nobody())
        except SandboxUnavailable as error:
            return error.message.rstrip(".")
    return ""


def _open_holes(abi: int, other: bool) -> list[str]:
    """What level 1 leaves open on this host."""
    holes = []
    if abi < 3 and not other:
        holes.append("Landlock ABI < 3: files of the same user can be truncated")
    if abi < 6 and not other:
        holes.append("Landlock ABI < 6: processes of the same user can be signalled")
    if os.geteuid() == 0 and not other:
        holes.append("root without CAP_SETUID: processes are limited only by watching them")
    return holes
