"""The audit log's files: one line of JSON a record, each file the next stretch of a chain.

``gate-<chain>-<number of its first record>.jsonl`` in ``state/audit/``. Files are appended to by
one process at a time and never changed; a line that a crash left half written is cut off before
the next one, and is still in Redis.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.errors import WorkspaceUnwritable
from llmos_workers.kernel.gate_log import Entry, GateLog
from llmos_workers.kernel.workspace import make_folder

log = logging.getLogger(__name__)

FULL = 16_000_000
"""Bytes from which on a new file is begun."""

KEPT = 1_000
"""Records that stay in Redis when they are filed: what is asked about most."""

TAIL = 65_536
"""Bytes at a file's end that are sure to hold its last line."""


class Unreadable(ValueError):
    """A line that is not as it was written."""


@dataclass(frozen=True)
class GateFiles:
    """The folder of the audit files."""

    folder: Path

    def all(self) -> list[Path]:
        """The files, chain by chain, each in order."""
        return sorted(self.folder.glob("gate-*-*.jsonl"))

    def file_away(self, gate_log: GateLog) -> int:
        """Append what Redis has and the files do not; how many that were.

        May be broken off anywhere: the next time goes on behind the last whole line. A file that
        someone cut shorter than it was is not mended: the gap is for ``verify`` to see. Raises
        WorkspaceUnwritable.
        """
        head = gate_log.head()
        if head.n == head.filed:
            return 0
        make_folder(self.folder)
        try:
            with self._alone():
                return self._append(gate_log, head.chain, head.filed_id)
        except OSError as error:
            raise WorkspaceUnwritable(
                f"the audit log {self.folder} cannot be written: {error.strerror}."
            ) from error

    def _append(self, gate_log: GateLog, chain: str, filed_id: str) -> int:
        mine = sorted(self.folder.glob(f"gate-{chain}-*.jsonl"))
        there = next(filter(None, map(_whole, reversed(mine))), 0)
        filed = int(filed_id.partition("-")[2] or 0)
        if there < filed:
            log.error("the audit log in %s was cut: it ends at %d, not at %d", self.folder,
                      there, filed)  # fmt: skip
        count, last, path = 0, "", mine[-1] if mine else None
        # Records of another chain, from before Redis lost its head, are not this one's.
        fresh = (entry for entry in gate_log.after(filed_id) if entry.chain == chain)
        for stretch in _stretches(fresh):
            lines = [as_line(entry) for entry in stretch if entry.n > there]
            if lines and (path is None or path.stat().st_size >= FULL):
                first = next(entry.n for entry in stretch if entry.n > there)
                path = self.folder / f"gate-{chain}-{first:012d}.jsonl"
            if lines and path is not None:
                _write(path, "".join(lines))
            count, last = count + len(lines), stretch[-1].id
            gate_log.filed(last, kept=KEPT)
        return count

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def newest(self) -> Iterator[Entry]:
        """The records in the files, newest first within a chain; what cannot be read is left
        out: it is for ``verify`` to tell.
        """
        for path in reversed(self.all()):
            for line in reversed(path.read_bytes().splitlines(keepends=True)):
                try:
                    yield read_line(line)
                except Unreadable:
                    continue


def as_line(entry: Entry) -> str:
    """A record as it stands in a file."""
    head = {"chain": entry.chain, "id": entry.id, "hash": entry.hash}
    return json.dumps(head, separators=(",", ":"))[:-1] + f',"record":{entry.text}}}\n'


def read_line(line: bytes) -> Entry:
    """The record of a line. Raises Unreadable when it could not have been written so."""
    try:
        data = json.loads(line)
        text = json.dumps(data["record"], sort_keys=True, separators=(",", ":"))
        entry = Entry(data["chain"], data["id"], text, data["hash"])
        same = as_line(entry).encode() == line and entry.n > 0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"it cannot be read: {type(error).__name__}") from error
    if not same:
        raise Unreadable("it is not written as the log writes")
    return entry


def _stretches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    for entry in entries:
        part.append(entry)
        if len(part) == KEPT:
            yield part
            part = []
    if part:
        yield part


def _whole(path: Path) -> int:
    """Number of the last whole line of a file; what a crash left behind it is cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        data = file.read()
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, size - len(data) + end)
    lines = data[:end].splitlines(keepends=True)
    try:
        return read_line(lines[-1]).n if lines else 0
    except Unreadable:
        return 0


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
