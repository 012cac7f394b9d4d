"""What the kernel's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.kernel.recovery_support import System


@pytest.fixture
def system(redis_server: str, state: redis.Redis) -> Iterator[System]:
    """State and broker without workers."""
    with redis.Redis.from_url(f"{redis_server}/0") as broker:
        yield System(state, broker)
