"""``state/commits.jsonl``: a line of JSON per commit, for people, backups and other programs."""

from __future__ import annotations

import os
from pathlib import Path

from llmos_workers.contracts.commits import Commit

NAME = "commits.jsonl"
MAX_BYTES = 16 << 20
"""A longer file becomes commits.1.jsonl, and an older one of that name goes."""

_TAIL = 1 << 20


def append_line(folder: Path, commit: Commit) -> None:
    """Add a commit, unless one of the last lines tells it already. Raises OSError."""
    path = folder / NAME
    line = commit.model_dump_json(exclude={"seq"}).encode() + b"\n"
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _TAIL, max(0, size - _TAIL))
        mark = f'{{"commit_id":"{commit.commit_id}",'.encode()
        if mark in tail:
            return
        if tail and not tail.endswith(b"\n"):
            line = b"\n" + line  # a crash cut the last one off
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
    if size + len(line) > MAX_BYTES:
        path.rename(folder / "commits.1.jsonl")
