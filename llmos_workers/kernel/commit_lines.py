"""``state/commits.jsonl``: a line of JSON per commit, for people, backups and other programs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.commits import Commit

NAME = "commits.jsonl"
MAX_BYTES = 16 << 20
"""A longer file becomes commits.1.jsonl, and an older one of that name goes."""


def append_line(folder: Path, commit: Commit) -> None:
    """Add a commit, unless one of the last lines tells it already. Raises OSError."""
    path = folder / NAME
    line = commit.model_dump_json(exclude={"seq"}).encode() + b"\n"
    # Only one commit of a project is pending at a time: what was told already is the last line.
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        facts = os.fstat(fd)
        tail = os.pread(fd, 2 * len(line), max(0, facts.st_size - 2 * len(line)))
        if line in tail:
            return
        if tail and not tail.endswith(b"\n"):
            line = b"\n" + line  # a crash cut the last one off
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
    if facts.st_size + len(line) > MAX_BYTES:
        with suppress(FileNotFoundError):  # somebody else has just done it
            if path.stat().st_ino == facts.st_ino:
                path.rename(folder / "commits.1.jsonl")
