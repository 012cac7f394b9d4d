"""A secret of the workers' environment that a file of a project holds too comes out nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.local import LocalSystem

pytestmark = pytest.mark.process

CANARY = "canary-7f3e91d2c4b8a650"
TIMEOUT = 60


def everything(client: redis.Redis) -> bytes:
    """All keys of a database with what they hold."""
    readers: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    kinds = [(key, client.type(key)) for key in client.scan_iter()]
    # Some keys expire while this looks.
    held = [(key, readers[kind](key)) for key, kind in kinds if kind != b"none"]
    return repr(held).encode()


def test_a_secret_that_a_tool_reads_is_in_no_record_log_trace_or_request(tmp_path: Path) -> None:
    """Looked through: all of Redis, the log of what the model was asked, and every file of the
    workspace but those that hold the project's own file.
    """
    config = LLMOSConfig.from_dict({"workspace": tmp_path / "workspace"})
    seen = tmp_path / "rehearsal.jsonl"
    env = {"CANARY_TOKEN": CANARY}
    with LocalSystem(config, env=env, rehearsal_log=seen) as system, LLMOS(system.config) as llmos:
        output = config.workspace / "projects" / "demo" / "output"
        output.mkdir(parents=True)
        (output / "notes.txt").write_text(f"The service wants {CANARY} today.\n")
        goal = "Summarise notes.txt into summary.md"
        outcomes = [llmos.submit(goal, project="demo").result(TIMEOUT) for _ in range(2)]
        assert [each.status for each in outcomes] == ["SUCCEEDED", "SUCCEEDED"]
        assert "[redacted]" in (output / "summary.md").read_text()
        for number in range(3):
            with redis.Redis.from_url(f"{system.config.redis.url}/{number}") as client:
                held = everything(client)
            assert b"llmos" in held or number < 2
            assert CANARY.encode() not in held, number
        told = " ".join(each.model_dump_json() for each in outcomes)
        assert CANARY not in told
    holding = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    }
    assert holding == {"workspace/projects/demo/output/notes.txt"}
