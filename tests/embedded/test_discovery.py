"""The runtime file: private, and never believed when its process is gone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded import discovery
from llmos_workers.embedded.discovery import Runtime

URL = "redis://:secret@127.0.0.1:7777"


@pytest.fixture
def mine() -> Runtime:
    me = os.getpid()
    return Runtime(redis_url=URL, pid=me, started=discovery.process_started(me))


def test_what_was_written_is_found(tmp_path: Path, mine: Runtime) -> None:
    path = discovery.write(tmp_path, replace(mine, workers={"llm-1": 12}))
    found = discovery.read(tmp_path)
    assert found == replace(mine, workers={"llm-1": 12})
    assert discovery.find_embedded(tmp_path) == URL
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_no_stack(tmp_path: Path) -> None:
    assert discovery.read(tmp_path) is None
    assert discovery.find_embedded(tmp_path) is None


def test_a_dead_process_makes_the_file_stale(tmp_path: Path, mine: Runtime) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = replace(mine, pid=child.pid, started=discovery.process_started(child.pid))
    discovery.write(tmp_path, theirs)
    assert discovery.read(tmp_path) == theirs
    child.kill()
    child.communicate()
    assert discovery.read(tmp_path) is None


def test_a_pid_that_now_belongs_to_another_process_makes_it_stale(
    tmp_path: Path, mine: Runtime
) -> None:
    discovery.write(tmp_path, replace(mine, started="12345 another-boot"))
    assert discovery.read(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"unknown": true}'])
def test_a_torn_or_foreign_file_counts_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / discovery.FILE
    path.parent.mkdir()
    path.write_text(content)
    assert discovery.read(tmp_path) is None


def test_only_the_owner_removes_it(tmp_path: Path, mine: Runtime) -> None:
    discovery.write(tmp_path, mine)
    discovery.remove(tmp_path, pid=mine.pid + 1)
    assert discovery.read(tmp_path) == mine
    discovery.remove(tmp_path, pid=mine.pid)
    assert not (tmp_path / discovery.FILE).exists()


def test_a_configured_server_wins_over_a_running_stack(tmp_path: Path, mine: Runtime) -> None:
    discovery.write(tmp_path, mine)
    here = LLMOSConfig.from_dict({"workspace": str(tmp_path)})
    there = LLMOSConfig.from_dict({"workspace": str(tmp_path), "redis": {"url": "redis://far:1"}})
    assert discovery.redis_url_for(here) == URL
    assert discovery.redis_url_for(there) == "redis://far:1"
    assert discovery.redis_url_for(LLMOSConfig.from_dict({"workspace": "/none"})).endswith(":6379")


def test_the_file_is_plain_json(tmp_path: Path, mine: Runtime) -> None:
    assert json.loads(discovery.write(tmp_path, mine).read_text())["redis_url"] == URL
