"""One file that holds what a system knows: ``llmos backup``.

A tar in a zstd frame: ``state`` (Redis at one instant, kernel/state_copy), the workspace's files as
they were copied after that, and last ``manifest.json`` with the sha256 of every part. Behind it
comes a skippable frame with the sha256 of all bytes before, so that no damage goes unseen; zstd and
tar pass over it. The file is written beside its place and gets its name when it is whole and on the
disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, cast

import redis
import zstandard
from pydantic import Field

from llmos_workers.contracts.base import Record
from llmos_workers.contracts.errors import InvalidOption, WorkspaceUnwritable
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import keys, paths, state_copy
from llmos_workers.kernel.backup_files import AUDIT, Chosen, audit_until, files_of
from llmos_workers.kernel.clock import Clock, SystemClock, iso
from llmos_workers.kernel.state_copy import StoredKey

KIND = "llmos backup"
FORMAT = 1
STATE = "state"
MANIFEST = "manifest.json"
FILES = "workspace/"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TRAILER = struct.pack("<II", 0x184D2A5E, 32)
"""Head of the skippable frame; the digest follows."""

IN_MEMORY = 64 << 20
"""Bytes of Redis's part that are kept in memory while it is written."""


class Part(Record):
    """A part of a backup: ``state``, or a file of the workspace."""

    name: str
    sha256: str
    size: int = Field(ge=0)
    mode: int = Field(default=0o644, ge=0, le=0o777)
    mtime_ns: int = 0


class Manifest(Record):
    """What a backup says of itself."""

    kind: str = KIND
    format: int = FORMAT
    created_at: str
    """ISO 8601, UTC: the instant of Redis's part."""
    release: str
    schema_version: int
    schema_reads: int = 0
    """The lowest release schema that can work on the data."""
    keys: int
    """Of Redis."""
    private_key: bool = False
    output: bool = True
    parts: tuple[Part, ...]

    @property
    def files(self) -> int:
        """How many files of the workspace it holds."""
        return len(self.parts) - 1


@dataclass
class _Archive:
    """The tar that is being written, and what is in it."""

    tar: tarfile.TarFile
    parts: list[Part] = field(default_factory=list)

    def add(self, name: str, file: IO[bytes], size: int, mode: int, mtime_ns: int) -> None:
        """Add ``size`` bytes. Raises OSError when the file has fewer."""
        facts = tarfile.TarInfo(name)
        facts.size, facts.mode, facts.mtime = size, mode, mtime_ns // 10**9
        counted = _Hashing(file)
        self.tar.addfile(facts, counted)
        self.parts.append(
            Part(name=name, sha256=counted.digest, size=size, mode=mode, mtime_ns=mtime_ns)
        )

    def add_file(self, root: Path, path: str, until: tuple[str, int]) -> None:
        """Add a file of the workspace; one that has gone meanwhile is no part of the backup."""
        try:
            fd = paths.open_inside(root, path)
        except OSError:
            return
        with os.fdopen(fd, "rb") as file:
            facts = os.fstat(file.fileno())
            mode = facts.st_mode & 0o777
            if path.startswith(AUDIT):  # as far as Redis's part knows of it
                data = audit_until(file.read(), *until)
                self.add(FILES + path, io.BytesIO(data), len(data), mode, facts.st_mtime_ns)
            else:
                self.add(FILES + path, file, facts.st_size, mode, facts.st_mtime_ns)


class _Written(io.RawIOBase):
    """A file that is written through, and the digest of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._file.write(data)

    @property
    def digest(self) -> bytes:
        """sha256 of what was written."""
        return self._hash.digest()


class _Hashing(io.RawIOBase):
    """A file that is read through, and what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        """sha256 in hex of what was read."""
        return self._hash.hexdigest()


def write_backup(
    path: Path,
    client: redis.Redis,
    workspace: Path,
    *,
    chosen: Chosen | None = None,
    clock: Clock | None = None,
    watch: Watch = unwatched,
) -> Manifest:
    """Write a backup of a system, which may be at work. Raises InvalidOption when there is such a
    file, WorkspaceUnwritable when it cannot be written.
    """
    chosen = chosen or Chosen()
    if path.exists():
        raise InvalidOption(f"{path} is there already.", fix="Name a file that is not.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # Only its owner reads it: goals' texts, journals, perhaps a private key.
        with os.fdopen(os.open(beside, _NEW, 0o600), "wb") as file:
            counted = _Written(file)
            manifest = _write(
                cast("IO[bytes]", counted), client, workspace, chosen,
                clock=clock or SystemClock(), watch=watch,
            )  # fmt: skip
            file.write(TRAILER + counted.digest)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        raise WorkspaceUnwritable(
            f"the backup {path} cannot be written: {error.strerror or error}.",
            fix="Is there room, and may you write there?",
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return manifest


def _write(
    file: IO[bytes],
    client: redis.Redis,
    workspace: Path,
    chosen: Chosen,
    *,
    clock: Clock,
    watch: Watch,
) -> Manifest:
    schema, reads = (int(n or 0) for n in _fields(client, keys.SCHEMA, "version", "reads"))
    created_at = iso(clock.now())
    stored = state_copy.read_all(client, watch)
    with (
        zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as frame,
        tarfile.open(fileobj=frame, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        archive = _Archive(tar)
        _add_state(archive, watch("writing what was in Redis", stored))
        until = _audited(stored)
        for path in watch("copying files", list(files_of(workspace, chosen))):
            archive.add_file(workspace, path, until)
        manifest = Manifest(
            created_at=created_at,
            release=version("llmos-workers"),
            schema_version=schema,
            schema_reads=reads,
            keys=len(stored),
            private_key=chosen.private_key,
            output=chosen.output,
            parts=tuple(archive.parts),
        )
        text = manifest.model_dump_json(indent=1).encode()
        archive.add(MANIFEST, io.BytesIO(text), len(text), 0o600, 0)
    return manifest


def _add_state(archive: _Archive, stored: Iterable[StoredKey]) -> None:
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as part:
        state_copy.dump(stored, part)
        size = part.tell()
        part.seek(0)
        archive.add(STATE, part, size, 0o600, 0)


def _audited(stored: Iterable[StoredKey]) -> tuple[str, int]:
    """Name of the audit log's chain, and number of its last record, as Redis's part has them."""
    for key in stored:
        if key.name == keys.GATE_HEAD.encode():
            facts = dict(zip(key.value[::2], key.value[1::2], strict=True))
            return facts.get(b"chain", b"").decode(), int(facts.get(b"n", 0))
    return "", 0


def _fields(client: redis.Redis, name: str, *fields: str) -> list[Any]:
    found: Any = client.hmget(name, list(fields))
    return list(found)


def read_manifest(text: bytes) -> dict[str, Any]:
    """The manifest's JSON. Raises ValueError."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise TypeError("the manifest is no object")
    return data
