"""The command line in this process, against the private server."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from llmos_cli.main import main
from tests.support.stub_worker import StubWorker


@dataclass
class Ran:
    """What one command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error of a command with --json."""
        assert self.out == ""
        return json.loads(self.err.splitlines()[-1])

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def bare_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs commands with no server configured, in an empty folder."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "LLMOS_REDIS_URL", "LLMOS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capfd.readouterr()
        code = main(arguments)
        told = capfd.readouterr()
        assert "Traceback" not in told.err + told.out
        return Ran(int(code), told.out, told.err)

    return run


@pytest.fixture
def run(
    bare_run: Run, monkeypatch: pytest.MonkeyPatch, redis_server: str, state: redis.Redis
) -> Run:
    """Runs commands against the private server."""
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    return bare_run


@pytest.fixture
def worker(redis_server: str, state: redis.Redis) -> Iterator[StubWorker]:
    with StubWorker(redis_server) as running:
        yield running
