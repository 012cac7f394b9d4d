"""The embedded stack: a private server and one worker process per role, in one owner's hands.

Whatever ends the owner ends the stack: stop(), leaving the ``with`` block, an exception, Ctrl-C,
normal exit, and kill -9 (then the kernel ends the children). A worker that dies is started
again; so is the server, on the same address and with its data.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import redis

from llmos_workers.config import LLMOSConfig
from llmos_workers.config_keys import ENV_PREFIX, SHORT_VARIABLES
from llmos_workers.config_sources import dump_config
from llmos_workers.contracts.errors import InfrastructureError, LLMOSError
from llmos_workers.embedded import discovery
from llmos_workers.embedded.keeper import ProcessKeeper, tail
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.embedded.workers import WorkerProcess, stop_all
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from llmos_workers.worker import ROLES

logger = logging.getLogger(__name__)

NOT_INHERITED = frozenset({"LLMOS_PRESET", *SHORT_VARIABLES})
READY_SECS = 60.0
WATCH_SECS = 0.2
DRAIN_SECS = 3.0
"""How long a replay in progress may go on when the stack stops; it is journaled anyway."""


class EmbeddedStack:
    """Server and workers on one workspace; one per workspace at a time."""

    def __init__(
        self,
        config: LLMOSConfig,
        *,
        roles: Iterable[str] | Mapping[str, int | None] = tuple(ROLES),
        log_folder: Path | None = None,
        env: Mapping[str, str] | None = None,
        model_url: str | None = None,
        log_level: str | None = None,
    ) -> None:
        """``roles``: names, or names with a concurrency (None: the preset's).

        ``env`` is added to the workers' environment. ``model_url`` is only noted in the runtime
        file, for clients that want to know. Logs go to ``<workspace>/state/logs`` by default.
        """
        self._given = config
        self.workspace = config.workspace.absolute()
        wanted = roles if isinstance(roles, Mapping) else dict.fromkeys(roles, None)
        self._roles: dict[str, int | None] = dict(wanted)
        self.log_folder = log_folder or self.workspace / "state" / "logs"
        self._env, self._model_url, self._log_level = dict(env or {}), model_url, log_level
        self._config_file = self.workspace / "state" / f".embedded-config-{os.getpid()}.json"
        self._keeper: ProcessKeeper | None = None
        self._server: EmbeddedServer | None = None
        self._workers: list[WorkerProcess] = []
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._lock = threading.RLock()

    @property
    def redis_url(self) -> str:
        """Base URL of the private server, with its password."""
        if self._server is None:
            raise InfrastructureError("the embedded stack is not up.", fix="Call start() first.")
        return self._server.url

    @property
    def config(self) -> LLMOSConfig:
        """The given configuration with the private server's address in it."""
        redis_config = self._given.redis.model_copy(update={"url": self.redis_url})
        update = {"redis": redis_config, "workspace": self.workspace}
        return self._given.model_copy(update=update)

    @property
    def server_pid(self) -> int | None:
        """Process id of the server; None while it does not run."""
        return self._server.pid if self._server else None

    @property
    def workers(self) -> dict[str, int]:
        """Name -> process id of the workers that run."""
        with self._lock:
            return {worker.name: worker.pid for worker in self._workers if worker.pid}

    def start(self) -> Self:
        """Start everything and wait until each worker takes tasks.

        Raises InfrastructureError (also BrokerUnavailable, WorkspaceUnwritable) and leaves
        nothing running.
        """
        if self._keeper is not None:
            return self
        self._stopping.clear()
        atexit.register(self.stop)
        try:
            self._start()
        except BaseException:  # whatever it was, Ctrl-C included: leave nothing running
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop workers, then the server, and remove the runtime files. May be called again."""
        atexit.unregister(self.stop)
        self._stopping.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
            self._watcher = None
        with self._lock:
            stop_all(self._workers)
            self._workers = []
            if self._server is not None:
                self._server.stop()
                self._server = None
            if self._keeper is not None:
                discovery.remove(self.workspace, pid=os.getpid())
                self._config_file.unlink(missing_ok=True)
                self._keeper.close()
                self._keeper = None

    def wait(self, timeout: float | None = None) -> bool:
        """Block until stop() is called elsewhere, or for ``timeout`` seconds; whether stopped."""
        return self._stopping.wait(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        for folder in (self.workspace / "state", self.log_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._keeper = ProcessKeeper()
        self._server = EmbeddedServer(self.workspace / "state" / "redis", keeper=self._keeper)
        self._server.start()
        self._write_config()
        environment = self._environment()
        for role, concurrency in self._roles.items():
            worker = WorkerProcess(
                role,
                concurrency,
                keeper=self._keeper,
                log_folder=self.log_folder,
                env=environment,
                log_level=self._log_level,
            )
            worker.start()
            self._workers.append(worker)
        self._await_workers()
        self._announce()
        self._watcher = threading.Thread(target=self._watch, name="llmos-stack", daemon=True)
        self._watcher.start()

    def _write_config(self) -> None:
        """What the workers read: secrets included, so 0600 and gone with the stack."""
        self._config_file.unlink(missing_ok=True)
        file = os.open(self._config_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(dump_config(self.config))

    def _environment(self) -> dict[str, str]:
        """The workers' environment: the file holds every setting, so none may overrule it."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in NOT_INHERITED and not (name.startswith(ENV_PREFIX) and "__" in name)
        }
        ours = {"LLMOS_CONFIG": str(self._config_file), "PYTHONUNBUFFERED": "1"}
        return inherited | {"LLMOS_DRAIN_SECS": str(DRAIN_SECS)} | self._env | ours

    def _await_workers(self) -> None:
        deadline = time.monotonic() + READY_SECS
        with connect(self.config.redis) as state:
            while True:
                beating = {worker["pid"] for worker in live_workers(state)}
                late = [worker for worker in self._workers if worker.pid not in beating]
                if not late:
                    return
                for worker in late:
                    if worker.pid is None or time.monotonic() > deadline:
                        raise InfrastructureError(
                            f"the {worker.role} worker did not start: {tail(worker.log)}",
                            fix=f"See {worker.log}.",
                        )
                time.sleep(0.02)

    def _announce(self) -> None:
        discovery.write(
            self.workspace,
            discovery.Runtime(
                redis_url=self.redis_url,
                pid=os.getpid(),
                started=discovery.process_started(os.getpid()),
                server_pid=self.server_pid,
                workers=self.workers,
                model_url=self._model_url,
            ),
        )

    def _watch(self) -> None:
        """Start again what died; runs until the stack stops."""
        while not self._stopping.wait(WATCH_SECS):
            with self._lock:
                try:
                    changed = self._revive()
                    if changed:
                        self._announce()
                except (LLMOSError, OSError, redis.RedisError) as error:
                    logger.warning("the embedded stack cannot restart a process yet: %s", error)

    def _revive(self) -> bool:
        changed = False
        if self._server is not None and self._server.pid is None:
            logger.warning("the embedded server ended; starting it again on its data")
            self._server.start()
            changed = True
        for worker in self._workers:
            if worker.revive(time.monotonic()):
                changed = True
        return changed
