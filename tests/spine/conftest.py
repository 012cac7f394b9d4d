"""A real system for the tests of the spine: server, worker processes, rehearsal model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.local import LocalSystem
from tests.spine.plain import PlainApp, bare_python
from tests.support.wait import wait_until

_numbers = itertools.count()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """The whole system on a workspace of its own; a short lease, so that tests need not wait."""
    folder = tmp_path_factory.mktemp("spine")
    config = LLMOSConfig.from_dict(
        {
            "workspace": folder / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 2.0},
            "redis": {"visibility_timeout_secs": 6},
            # Upkeep's own model calls would come between those that tests count and script.
            "memory": {"insights": False},
        }
    )
    with LocalSystem(config, rehearsal_log=folder / "rehearsal.jsonl") as running:
        yield running


@pytest.fixture(scope="session")
def llmos(system: LocalSystem) -> Iterator[LLMOS]:
    """A client of the system."""
    with LLMOS(system.config) as client:
        yield client


@pytest.fixture
def project() -> str:
    """A project that no other test knows."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def output(system: LocalSystem, project: str) -> Path:
    """The project's output folder, made."""
    folder = system.config.workspace / "projects" / project / "output"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def served(system: LocalSystem) -> Callable[[], int]:
    """How many requests the rehearsal model has answered so far."""
    assert system.rehearsal is not None
    log = system.rehearsal.log
    return lambda: len(log.entries())


@pytest.fixture(scope="session")
def app(request, system, tmp_path_factory) -> PlainApp:
    """The plain app on the system's server, by its broker and result databases."""
    python = bare_python(request.config.cache.mkdir("bare-venv"))
    return PlainApp(python, tmp_path_factory.mktemp("plain"), system.config.redis.url)


@pytest.fixture(scope="session")
def results(system) -> Iterator[redis.Redis]:
    """A client of the result database."""
    with redis.Redis.from_url(f"{system.config.redis.url}/1") as client:
        yield client


@pytest.fixture(scope="session")
def own_worker(app, results) -> Iterator[None]:
    """The plain app's own worker."""
    worker = app.worker()
    try:
        log = app.folder / "worker.log"
        wait_until(
            lambda: b"ready." in log.read_bytes() or worker.poll() is not None,
            what="the plain worker is ready",
        )
        assert worker.poll() is None, log.read_text()
        yield
    finally:
        worker.kill()
        worker.wait()
