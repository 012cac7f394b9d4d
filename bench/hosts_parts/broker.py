"""The broker's host: a server with the users and settings of deploy/, and who was refused what."""

from __future__ import annotations

import importlib.util
import subprocess
import time
import tomllib
from pathlib import Path
from types import ModuleType

import redis

from bench.hosts_parts.network import BROKER
from llmos_workers.embedded.server import find_binary

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PORT = 6379
READY_SECS = 60.0
OPERATOR = "operator"


def make_secrets() -> ModuleType:
    """deploy/make_secrets.py, which is a script and not a module of ours."""
    spec = importlib.util.spec_from_file_location("make_secrets", DEPLOY / "make_secrets.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(DEPLOY / "make_secrets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Broker:
    """Context manager: the server runs inside of the block."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made, for its data."""
        self.folder = folder
        secrets = make_secrets()
        passwords = {name: f"pw-{name}" for name in (*secrets.ROLES, "qdrant", "web")}
        self._made = secrets.files(passwords, host=BROKER)
        self._process: subprocess.Popen[bytes] | None = None
        self.admin = redis.Redis(host=BROKER, username=OPERATOR, password=OPERATOR)

    def url(self, role: str) -> str:
        """Address with the role's user and password; role ``operator`` may everything."""
        if role == OPERATOR:
            return f"redis://{OPERATOR}:{OPERATOR}@{BROKER}:{PORT}"
        return str(tomllib.loads(self._made[f"{role}.toml"])["redis"]["url"])

    def refusals(self) -> list[str]:
        """What the server refused to whom."""
        return [str(entry) for entry in self.admin.acl_log()]

    def forget(self, address: str) -> int:
        """Drop its ends of all connections of an address, as one does that lost its power: what
        waits for an answer there gets neither one nor an end. How many there were.
        """
        mine = [c for c in self.admin.client_list() if c["addr"].rpartition(":")[0] == address]
        subprocess.run(["ss", "--kill", "dst", address], capture_output=True, check=False)
        for client in mine:  # where this kernel cannot do that
            self.admin.client_kill_filter(_id=client["id"])
        return len(mine)

    def __enter__(self) -> Broker:
        self.folder.mkdir()
        users = self._made["users.acl"] + f"user {OPERATOR} on >{OPERATOR} ~* &* +@all\n"
        (self.folder / "users.acl").write_text(users)
        conf = (DEPLOY / "redis" / "redis.conf").read_text()
        conf = conf.replace("/run/secrets/users.acl", str(self.folder / "users.acl"))
        (self.folder / "redis.conf").write_text(conf)
        argv = [find_binary(), str(self.folder / "redis.conf"), "--port", str(PORT)]
        argv += ["--bind", BROKER, "--dir", str(self.folder)]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((self.folder / "log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.admin.ping())
        except redis.RedisError:
            return False
