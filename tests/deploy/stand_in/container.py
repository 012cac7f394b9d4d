"""One container: a root of its own that is read-only, a user without rights, declared mounts."""

from __future__ import annotations

import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("bin", "lib", "lib64", "sbin", "usr")
"""Folders of this machine that stand for the image's."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the container."""

    target: str
    source: Path | None
    """None: an empty one in memory."""
    writable: bool = False


@dataclass(frozen=True)
class Container:
    """What a service or a pod declares."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    user: tuple[int, int]
    mounts: Sequence[Mount]
    checks: Sequence[Sequence[str]] = ()
    """Commands to run in it, or one word: an address to get. All must succeed."""


@dataclass
class Machine:
    """What all containers stand on."""

    folder: Path
    hosts: Path
    """Name -> address, as name service has it."""
    programs: Sequence[Path]
    """Folders outside of SYSTEM that programs are in, at the same place in each container."""
    links: Mapping[str, Path] = field(default_factory=dict)
    """Folder of the image -> the one of this machine that stands for it."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Environment that only this machine needs."""


class Running:
    """A container that was started; leaving the block ends it."""

    def __init__(self, container: Container, machine: Machine) -> None:
        self.container, self.machine = container, machine
        self.log = machine.folder / f"{container.name}.log"

    def __enter__(self) -> Running:
        root = self.machine.folder / f"{self.container.name}.root"
        root.mkdir()
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", self._script(root)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, grace_s: float) -> int:
        """Tell it to end; its exit code. Raises subprocess.TimeoutExpired."""
        self.process.terminate()
        return self.process.wait(grace_s)

    def failing(self) -> str:
        """The first health check that does not succeed, with what it said; empty: it is well."""
        if self.process.poll() is not None:
            return f"ended with {self.process.returncode}: {self.log.read_text()[-2000:]}"
        for check in self.container.checks:
            if len(check) == 1:
                try:
                    urllib.request.urlopen(check[0], timeout=5).close()
                except (urllib.error.URLError, OSError) as error:
                    return f"{check[0]}: {error}"
                continue
            done = self.inside(check)
            if done.returncode:
                return f"{shlex.join(check)}: {done.returncode} {done.stderr[-500:]}"
        return ""

    def inside(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its user."""
        enter = ["nsenter", "--target", str(self.process.pid), "--mount", "--root"]
        return subprocess.run(
            [*enter, *self._as_user(argv)], capture_output=True, text=True, check=False
        )

    def _as_user(self, argv: Sequence[str]) -> list[str]:
        user, group = self.container.user
        env = [f"{name}={value}" for name, value in self.container.env.items()]
        env += [f"{name}={value}" for name, value in self.machine.extra.items()]
        return [
            "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
            "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
            "/usr/bin/env", "-i", "-C", "/workspace", *env, *argv,
        ]  # fmt: skip

    def _script(self, root: Path) -> str:
        """Shell that makes the root and becomes the container's program."""
        at, argv = shlex.quote(str(root)), self.container.argv
        lines = [
            f"mount -t tmpfs tmpfs {at}",
            f"mkdir -p {at}/etc {at}/proc {at}/dev {at}/workspace {at}/tmp",
            f"cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ssl /etc/alternatives {at}/etc",
            f"cp {shlex.quote(str(self.machine.hosts))} {at}/etc/hosts",
            f"mount -t proc proc {at}/proc && mount --rbind /dev {at}/dev",
        ]
        for name in SYSTEM:
            if Path(f"/{name}").is_symlink():
                lines.append(f"cp -P /{name} {at}/{name}")
            elif Path(f"/{name}").is_dir():
                lines += self._bind(root, Mount(f"/{name}", Path(f"/{name}")))
        for mount in self.container.mounts:
            lines += self._bind(root, mount)
        for place in self.machine.programs:
            lines += self._bind(root, Mount(str(place), place))
        for target, source in self.machine.links.items():
            lines += self._bind(root, Mount(target, source))
        lines.append(f"mount -o remount,ro {at}")
        return "\n".join([*lines, f"exec chroot {at} {shlex.join(self._as_user(argv))}"])

    def _bind(self, root: Path, mount: Mount) -> list[str]:
        target = shlex.quote(f"{root}{mount.target}")
        if mount.source is None:
            return [
                f"mkdir -p {target}",
                f"mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs {target}",
            ]
        source = shlex.quote(str(mount.source))
        made = f"mkdir -p {target}"
        if mount.source.is_file():
            made = f"mkdir -p $(dirname {target}) && touch {target}"
        lines = [made, f"mount --bind {source} {target}"]
        return lines if mount.writable else [*lines, f"mount -o remount,bind,ro {target}"]
