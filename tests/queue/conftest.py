"""A lab: a private server that can be restarted, and real worker processes of our app."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from llmos_workers.app import make_app
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.keeper import ProcessKeeper, kill_session
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.embedded.workers import WorkerProcess
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from tests.support.wait import wait_until

VISIBILITY_SECS = 3


class Lab:
    """One test's view of the server: emptied, with an app and the workers the test starts."""

    def __init__(self, server: EmbeddedServer, keeper: ProcessKeeper, folder: Path) -> None:
        self.server, self._keeper, self.folder = server, keeper, folder
        self.config = LLMOSConfig.from_dict(
            {
                "workspace": str(folder),
                "redis": {"url": server.url, "visibility_timeout_secs": VISIBILITY_SECS},
            }
        )
        self.state = connect(self.config.redis)
        self.state.flushall()
        self.app = make_app(self.config)
        self._workers: list[WorkerProcess] = []
        self._results: list[Any] = []

    @property
    def broker(self) -> redis.Redis:
        """A client of the broker database."""
        return connect(self.config.redis, db=self.config.redis.broker_db)

    def worker(self, role: str, concurrency: int = 2, **env: str) -> WorkerProcess:
        """A worker process that takes tasks when this returns."""
        place = self.folder / f"worker-{len(self._workers)}"
        place.mkdir(parents=True)
        settings = {
            "LLMOS_TASK_MODULES": "tests.queue.probe_tasks",
            "LLMOS_REDIS_URL": self.server.url,
            "LLMOS_REDIS__VISIBILITY_TIMEOUT_SECS": str(VISIBILITY_SECS),
            "LLMOS_WORKSPACE": str(self.folder),
            "PYTHONUNBUFFERED": "1",
        }
        worker = WorkerProcess(
            role, concurrency, keeper=self._keeper, log_folder=place,
            env=os.environ | settings | env,
        )  # fmt: skip
        worker.name = f"{role}-{len(self._workers)}"
        worker._command[worker._command.index("--name") + 1] = worker.name
        self._workers.append(worker)
        worker.start()
        wait_until(lambda: worker.pid in self.beating(), what=f"{worker.name} takes tasks")
        return worker

    def beating(self) -> set[int]:
        """Process ids of the workers that beat."""
        return {worker["pid"] for worker in live_workers(self.state)}

    def kill(self, worker: WorkerProcess) -> None:
        """kill -9 of the worker with all its children."""
        assert worker._process is not None
        kill_session(worker._process)
        worker._process.wait()

    def terminate(self, worker: WorkerProcess, timeout: float) -> int:
        """TERM; the exit code, which must come within ``timeout`` seconds."""
        assert worker._process is not None
        os.kill(worker._process.pid, signal.SIGTERM)
        return worker._process.wait(timeout)

    def send(self, task: str, *args: Any, queue: str, **kwargs: Any) -> Any:
        """Send a task of that name; its AsyncResult."""
        result = self.app.send_task(task, args=args, kwargs=kwargs, queue=queue)
        self._results.append(result)
        return result

    def starts(self, key: str) -> int:
        """How often probe.hold began."""
        return int(self.state.llen(f"{key}:starts"))

    def ends(self, key: str) -> int:
        """How often probe.hold reached its end."""
        return int(self.state.get(f"{key}:ends") or 0)

    def wait_starts(self, key: str, number: int = 1, timeout: float = 15) -> None:
        """Until probe.hold began that often."""
        wait_until(lambda: self.starts(key) >= number, timeout, what=f"{number} starts of {key}")

    def unacked(self) -> int:
        """Deliveries that nobody acknowledged yet."""
        with self.broker as broker:
            return int(broker.hlen("unacked"))

    def close(self) -> None:
        """End what this test started."""
        for worker in self._workers:
            if worker.pid is not None:
                self.kill(worker)
        for result in self._results:  # else it unsubscribes when the server is long gone
            self.app.backend.remove_pending_result(result)
            result.backend = None
        self.app.backend.result_consumer.stop()
        self.app.backend.client.close()
        self.app.close()
        self.state.close()


@pytest.fixture(scope="package")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture(scope="package")
def keeper() -> Iterator[ProcessKeeper]:
    keeper = ProcessKeeper()
    yield keeper
    keeper.close()


@pytest.fixture
def lab(lab_server: EmbeddedServer, keeper: ProcessKeeper, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(lab_server.start(), keeper, tmp_path)
    yield lab
    lab.close()
