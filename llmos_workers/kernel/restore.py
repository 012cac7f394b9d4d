"""``llmos restore``: a backup is checked to its last byte, and then becomes the system.

Nothing is written before all of it was read and every digest was right. While it is written, Redis
says so (``restoring`` in ``keys.SCHEMA``), and no worker starts on the half of it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import redis
import zstandard
from pydantic import ValidationError

from llmos_workers.contracts.errors import (
    DataError,
    InfrastructureError,
    InvalidOption,
    LLMOSError,
    NewerFormat,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import backup, keys, state_copy
from llmos_workers.kernel.backup import FILES, MANIFEST, STATE, TRAILER, Manifest, Part
from llmos_workers.kernel.backup_files import REPLACEABLE, checked
from llmos_workers.kernel.clock import Clock, SystemClock, iso
from llmos_workers.kernel.schema import RESTORING, SCHEMA
from llmos_workers.kernel.state_copy import StoredKey
from llmos_workers.kernel.workers import live_workers
from llmos_workers.kernel.workspace import Workspace, make_folder

ASIDE = "before-restore"
"""Folder in ``state/`` that what stood in the workspace before is moved to."""

_CHUNK = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_MANIFEST = 256 << 20
_COMMIT_STATE = (keys.commit_state("").encode().rpartition(b":")[0], b":state")


@dataclass(frozen=True)
class Restored:
    """What was brought back."""

    manifest: Manifest
    keys: int
    files: int
    aside: Path | None = None
    """Where files that stood in the workspace before are now."""


def verify(path: Path, watch: Watch = unwatched) -> Manifest:
    """Read a backup whole. Raises DataError for one that is damaged or none, NewerFormat for one
    of a newer release.
    """
    _check_bytes(path, watch)
    found: dict[str, tuple[str, int]] = {}
    manifest: Manifest | None = None
    with _entries(path) as entries:
        for name, file, size in watch("checking the parts", entries):
            if manifest is not None or name in found:
                raise DataError(f"{path} holds {name!r:.120} twice, or behind its end.")
            if name == MANIFEST:
                manifest = _manifest(file.read(min(size, MAX_MANIFEST)))
            else:
                found[name] = _digest(file)
    if manifest is None:
        raise DataError(f"{path} is cut off: its manifest is missing.")
    listed = {part.name: (part.sha256, part.size) for part in manifest.parts}
    wrong = sorted(n for n in {*listed, *found} if listed.get(n) != found.get(n))
    if wrong:
        raise DataError(f"{path} is damaged: {wrong[0]} is not what its manifest says.")
    for name in listed.keys() - {STATE}:
        if not name.startswith(FILES):
            raise DataError(f"{path} holds {name!r:.120}, which is no part of a backup.")
        checked(name.removeprefix(FILES))
    return manifest


def restore_backup(
    path: Path,
    client: redis.Redis,
    workspace: Workspace,
    *,
    force: bool = False,
    clock: Clock | None = None,
    watch: Watch = unwatched,
) -> Restored:
    """Make a backup the system. With ``force`` in place of what is there: keys of llmos are
    removed, files are put aside. Raises DataError, NewerFormat; InfrastructureError while workers
    run; InvalidOption for a target that is not empty.
    """
    manifest = verify(path, watch)
    workers = sorted(str(each["worker"]) for each in live_workers(client))
    if workers:
        raise InfrastructureError(
            f"workers run on the target: {', '.join(workers)}.", fix="Stop them, and try again."
        )
    there = _contents(client, workspace)
    if there and not force:
        raise InvalidOption(
            f"the target is not empty: {', '.join(there)}.",
            fix="Restore into an empty one, or replace it with --force.",
        )
    state_copy.wipe(client)
    client.hset(keys.SCHEMA, RESTORING, "1")
    aside = _put_aside(workspace, clock or SystemClock()) if force else None
    known = {part.name: part for part in manifest.parts}
    files = count = 0
    with _entries(path) as entries:
        for name, file, _size in watch("writing", entries, len(known) + 1):
            if name == STATE:
                count = state_copy.write_all(client, map(_settled, state_copy.load(file)))
            elif name != MANIFEST:
                _write_file(workspace, known[name], file)
                files += 1
    for what in ("traces", "agents"):
        client.incr(keys.epoch(what))
    facts = {"version": str(manifest.schema_version), "reads": str(manifest.schema_reads)}
    with client.pipeline() as pipe:
        pipe.hset(keys.SCHEMA, mapping=dict[Any, Any](facts))
        pipe.hdel(keys.SCHEMA, RESTORING)
        pipe.execute()
    return Restored(manifest, count, files, aside)


def _settled(key: StoredKey) -> StoredKey:
    """A commit whose files were being moved in is done: the files were copied after Redis."""
    begin, end = _COMMIT_STATE
    if not (key.name.startswith(begin) and key.name.endswith(end) and key.kind == "hash"):
        return key
    pairs = zip(key.value[::2], key.value[1::2], strict=True)
    return replace(key, value=[x for pair in pairs if pair[0] != b"pending" for x in pair])


def _contents(client: redis.Redis, workspace: Workspace) -> list[str]:
    """What stands at the target already, in words."""
    found = []
    for name in client.scan_iter(match=state_copy.ALL, count=1000):
        if name not in (keys.SCHEMA.encode(), keys.SCHEMA_LOCK.encode()):
            found.append("Redis holds keys of llmos")
            break
    full = [name for name in REPLACEABLE if any(map(Path.is_file, _below(workspace.root / name)))]
    return [*found, *(f"{workspace.root / name} holds files" for name in full)]


def _below(folder: Path) -> Iterable[Path]:
    return folder.rglob("*") if folder.is_dir() else ()


def _put_aside(workspace: Workspace, clock: Clock) -> Path | None:
    moment = iso(clock.now()).replace(":", "")
    aside = workspace.state / ASIDE / moment
    moved = None
    for name in REPLACEABLE:
        folder = workspace.root / name
        if folder.is_dir() and any(folder.iterdir()):
            make_folder(aside)
            folder.rename(aside / name)
            moved = aside
    return moved


def _write_file(workspace: Workspace, part: Part, file: IO[bytes]) -> None:
    path = checked(part.name.removeprefix(FILES))
    place = workspace.root / path
    make_folder(place.parent)
    if place.parent.resolve() != workspace.root.resolve() / Path(path).parent:
        raise DataError(f"{place.parent} is a link that leads elsewhere.")
    beside = place.with_name(f".{place.name[:200]}.llmos-tmp")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, _NEW, 0o600), "wb") as target:
            while data := file.read(_CHUNK):
                target.write(data)
            os.fchmod(target.fileno(), part.mode)
            target.flush()
            os.fsync(target.fileno())
        os.utime(beside, ns=(part.mtime_ns, part.mtime_ns))
        beside.replace(place)
    except OSError as error:
        raise WorkspaceUnwritable(f"{place} cannot be written: {error.strerror}.") from error


def _check_bytes(path: Path, watch: Watch) -> None:
    """Raise DataError unless the file is, to its last byte, what was written."""
    try:
        with path.open("rb") as file:
            size = max(0, path.stat().st_size - len(TRAILER) - hashlib.sha256().digest_size)
            digest = hashlib.sha256()
            for start in watch("checking the file", range(0, size, _CHUNK)):
                digest.update(file.read(min(size - start, _CHUNK)))
            whole = file.read() == TRAILER + digest.digest()
    except FileNotFoundError:
        raise InvalidOption(f"there is no file {path}.") from None
    if not whole:
        raise DataError(f"{path} is damaged, cut off, or no backup of llmos.")


@contextmanager
def _entries(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes], int]]]:
    """The parts of a backup in their order: (name, content, size). Raises DataError."""
    try:
        with (
            path.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=False) as frame,
            tarfile.open(fileobj=frame, mode="r|") as tar,
        ):
            yield _each(tar, path)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError) as error:
        if isinstance(error, LLMOSError):
            raise
        raise DataError(f"{path} is damaged, or no backup of llmos: {error}.") from None


def _each(tar: tarfile.TarFile, path: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    for entry in tar:
        content = tar.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise DataError(f"{path} holds {entry.name!r:.120}, which is no plain file.")
        yield entry.name, content, entry.size


def _digest(file: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while data := file.read(_CHUNK):
        digest.update(data)
        size += len(data)
    return digest.hexdigest(), size


def _manifest(text: bytes) -> Manifest:
    try:
        data = backup.read_manifest(text)
        if data.get("kind") != backup.KIND:
            raise DataError("this is no backup of llmos.")
        if int(data.get("format", 0)) > backup.FORMAT:
            raise NewerFormat("the backup", data["format"], backup.FORMAT)
        manifest = Manifest.model_validate(data)
    except (ValueError, TypeError, ValidationError) as error:
        raise DataError(f"the backup's manifest cannot be read: {error}.") from None
    if manifest.schema_version > SCHEMA and manifest.schema_reads > SCHEMA:
        raise NewerFormat("the data in the backup", manifest.schema_version, SCHEMA)
    return manifest
