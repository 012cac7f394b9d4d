"""A server with the users of deploy/make_secrets.py."""

from __future__ import annotations

import importlib.util
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import redis

from llmos_workers.embedded.server import find_binary
from tests.conftest import free_port
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def make_secrets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_secrets", DEPLOY / "make_secrets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Guarded:
    """The server, its administrator, and the URL of each role."""

    admin: redis.Redis
    urls: dict[str, str]

    def may(self, role: str, *command: str) -> bool:
        """Whether the server would let the role's user run a command; nothing is run."""
        said = self.admin.execute_command("ACL", "DRYRUN", f"llmos-{role}", *command)
        return said in (b"OK", "OK")

    def refusals(self) -> list[str]:
        """What was refused to whom since the last time."""
        log = self.admin.execute_command("ACL", "LOG")
        self.admin.execute_command("ACL", "LOG", "RESET")
        return [str(entry) for entry in log]


@pytest.fixture(scope="session")
def guarded(make_secrets, tmp_path_factory) -> Iterator[Guarded]:
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    passwords = {name: f"pw-{name}" for name in (*make_secrets.ROLES, "qdrant", "web")}
    made = make_secrets.files(passwords, host="127.0.0.1")
    acl = made["users.acl"] + "user root on >root ~* &* +@all\n"
    (folder / "users.acl").write_text(acl)
    conf = (DEPLOY / "redis" / "redis.conf").read_text()
    conf = conf.replace("/run/secrets/users.acl", str(folder / "users.acl"))
    (folder / "redis.conf").write_text(conf)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [find_binary(), str(folder / "redis.conf"), *options], stdout=log, stderr=log
        )
    admin = redis.Redis(port=port, username="root", password="root")

    def ready() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            return bool(admin.ping())
        except redis.ConnectionError:
            return False

    try:
        wait_until(ready, what="the server answers")
        urls = {
            role: tomllib.loads(made[f"{role}.toml"])["redis"]["url"].replace("6379", str(port))
            for role in make_secrets.ROLES
        }
        yield Guarded(admin, urls)
    finally:
        admin.close()
        server.terminate()
        server.wait(10)
