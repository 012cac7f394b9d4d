"""A client of the private server, and the stub worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from llmos_workers import LLMOS, LLMOSConfig
from tests.support.stub_worker import StubWorker


@pytest.fixture
def llmos(redis_server: str, state: redis.Redis, tmp_path: Path) -> Iterator[LLMOS]:
    config = LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": redis_server}})
    with LLMOS(config) as client:
        yield client


@pytest.fixture
def worker(redis_server: str, state: redis.Redis) -> Iterator[StubWorker]:
    with StubWorker(redis_server) as running:
        yield running
