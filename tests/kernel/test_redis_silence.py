"""Connections whose other end says nothing any more are given up."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import redis

from llmos_workers import LLMOSConfig
from llmos_workers.app import make_app
from llmos_workers.config import RedisConfig
from llmos_workers.kernel.redis import MAX_BLOCK_MS, connect, keepalive

SILENCE = 11
LINUX = {"TCP_USER_TIMEOUT": 11_000, "TCP_KEEPIDLE": 8, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


def options_of(sock: socket.socket) -> dict[str, int]:
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    return {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in LINUX}


def test_idle_connections_and_unacknowledged_data_fail_within_the_silence():
    """With probes: the idle time and all probes together are the silence."""
    assert LINUX["TCP_KEEPIDLE"] + 3 * LINUX["TCP_KEEPINTVL"] == SILENCE
    assert keepalive(SILENCE) == {getattr(socket, name): each for name, each in LINUX.items()}
    assert keepalive(3)[socket.TCP_KEEPIDLE] >= 1


def test_a_client_waits_no_longer_than_the_silence(redis_server):
    with connect(RedisConfig(url=redis_server, silence_secs=SILENCE)) as client:
        connection = client.connection_pool.get_connection()
        assert options_of(connection._sock) == LINUX
        assert connection._sock.gettimeout() == SILENCE
        client.connection_pool.release(connection)


def test_who_must_not_hang_does_not(mute):
    config = RedisConfig(url=mute, silence_secs=SILENCE)
    with connect(config, timeout_s=0.05) as client, pytest.raises(redis.TimeoutError):
        client.ping()


def test_waiting_on_purpose_is_no_silence():
    smallest = RedisConfig.model_fields["silence_secs"].metadata[0].ge
    assert smallest * 1000 > MAX_BLOCK_MS


def test_the_workers_own_connections_do_the_same(redis_server, tmp_path):
    given = {"workspace": tmp_path, "redis": {"url": redis_server, "silence_secs": SILENCE}}
    app = make_app(LLMOSConfig.from_dict(given))
    with app.connection() as connection:
        client = connection.default_channel.client
        raw = client.connection_pool.get_connection()
        assert options_of(raw._sock) == LINUX
        assert raw._sock.gettimeout() == SILENCE
        assert raw.health_check_interval == SILENCE
        client.connection_pool.release(raw)
    assert app.backend.client.connection_pool.connection_kwargs["socket_timeout"] == SILENCE
