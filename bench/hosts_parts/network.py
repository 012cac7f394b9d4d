"""Hosts on one machine: namespaces for network, name, processes and mounts, and links between them.

Each host is a process whose namespaces die with it, so nothing is left behind. The hosts hang on a
switch that belongs to the first one. Needs ``ip`` (iproute2), and root or user namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

INSIDE = "HOSTS_INSIDE"
"""Environment: this process is the first host already."""

NAMESPACES = (
    "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
SUBNET = "198.18.0"
"""Of the range that RFC 2544 sets aside for benchmarks; it exists in these namespaces only."""

BROKER = f"{SUBNET}.1"
SWITCH = "switch"


def missing() -> str:
    """Why hosts cannot be made here; empty: they can."""
    for name in ("ip", "bridge", "unshare", "nsenter"):
        if shutil.which(name) is None:
            return f"{name} is not installed"
    script = f"ip link add {SWITCH} type bridge && ip link add veth1 type veth peer name veth2"
    tried = subprocess.run(
        [*_unshare(), "sh", "-c", script], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"no network namespaces: {tried.stderr.strip()}"


def enter(module: str, arguments: Sequence[str]) -> None:
    """Become the first host, unless this process is in it; then make its switch."""
    if not os.environ.get(INSIDE):
        argv = [*_unshare(), sys.executable, "-m", module, *arguments]
        os.execvpe(argv[0], argv, os.environ | {INSIDE: "1"})
    _run("hostname", "broker")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", SWITCH, "type", "bridge")
    _run("ip", "addr", "add", f"{BROKER}/24", "dev", SWITCH)
    _run("ip", "link", "set", SWITCH, "up")


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, *NAMESPACES]


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


class Host:
    """A worker host: its own network, name, process numbers, and mount of the shared folder.

    Leaving the block takes its power away.
    """

    def __init__(self, number: int, shared: Path, folder: Path) -> None:
        """``folder`` is the host's own; ``shared`` appears in it as ``workspace``."""
        self.number, self.name = number, f"host-{number}"
        self.address = f"{SUBNET}.{number + 1}"
        self.folder, self.workspace = folder, folder / "workspace"
        self._shared, self._port = shared, f"port{number}"
        self._init: subprocess.Popen[bytes] | None = None
        self.programs: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Host:
        self.workspace.mkdir(parents=True)
        script = (
            f'hostname {self.name} && mount --bind "{self._shared}" "{self.workspace}" '
            "&& ip link set lo up && echo ready && exec sleep infinity"
        )
        argv = ["unshare", *NAMESPACES, "sh", "-c", script]
        self._init = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self._init.stdout is not None
        if self._init.stdout.readline() != b"ready\n":
            raise SystemExit(f"{self.name} did not start")
        (first,) = children(self._init.pid)
        self._first = first
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self._init is None or self._init.stdout is None:
            return
        self._init.kill()
        self._init.wait()
        self._init.stdout.close()
        for program in self.programs.values():
            program.wait()

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Run a program on this host; its output goes to ``<name>.log`` in the host's folder."""
        enter_it = ["nsenter", "--target", str(self._first), "--net", "--uts", "--mount", "--pid"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [*enter_it, "--", *argv], env=dict(env), stdout=log, stderr=subprocess.STDOUT
            )

    def dead(self) -> list[str]:
        """Programs that have ended, each with the end of what it said."""
        return [
            f"{self.name} {name}: {program.returncode}: "
            f"{(self.folder / f'{name}.log').read_text(errors='replace')[-400:]}"
            for name, program in self.programs.items()
            if program.poll() is not None
        ]

    def stop(self, grace_s: float) -> None:
        """Tell all programs to stop, and wait so long for each."""
        for program in self.programs.values():
            for pid in children(program.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        for program in self.programs.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(grace_s)

    def cut(self, *, silent: bool) -> None:
        """Cut its link. Silent: the card still has its signal, but nothing arrives any more;
        otherwise the card sees that the cable is out.
        """
        if silent:
            _run("bridge", "link", "set", "dev", self._port, "state", "disabled")
        else:
            _run("ip", "link", "set", self._port, "down")

    def heal(self) -> None:
        """Connect it again."""
        _run("ip", "link", "set", self._port, "up")
        _run("bridge", "link", "set", "dev", self._port, "state", "forwarding")

    def _connect(self) -> None:
        inner = f"eth{self.number}"
        _run("ip", "link", "add", self._port, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", str(self._first))
        _run("ip", "link", "set", self._port, "master", SWITCH, "up")
        inside = ("nsenter", "--target", str(self._first), "--net", "ip")
        _run(*inside, "addr", "add", f"{self.address}/24", "dev", inner)
        _run(*inside, "link", "set", inner, "up")


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found
