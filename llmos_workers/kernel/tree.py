"""Folders of files as facts: what stands where, without following a symlink.

Every walk goes from open folder to open folder, so that nothing that is swapped meanwhile leads
out. Sockets, pipes and devices are not part of a project and are passed over.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from llmos_workers.contracts.commits import FileKind, FileState
from llmos_workers.contracts.errors import ToolError
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX

MAX_DEPTH = 100
"""Folders within folders; deeper ones are refused."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20

Visit = Callable[[int, str, str, "Entry"], None]
"""Called with the open folder, the name in it, the path and what stands there."""


@dataclass(frozen=True)
class Entry:
    """What stands at a path: its kind, and what tells whether it is still the same."""

    kind: FileKind
    mode: int
    size: int
    ino: int
    mtime_ns: int
    ctime_ns: int
    uid: int = 0
    gid: int = 0
    target: str = ""

    def same(self, other: Entry | None) -> bool:
        """Whether ``other`` is this very thing, untouched: the same inode, size and time."""
        if other is None or other.kind is not self.kind:
            return False
        if self.kind is FileKind.LINK:
            return self.target == other.target
        if self.kind is FileKind.FOLDER:
            return True
        mine, theirs = (self.ino, self.size, self.mtime_ns), (other.ino, other.size, other.mtime_ns)
        return mine == theirs


def entry_at(folder: int, name: str) -> Entry | None:
    """What stands at a name of an open folder; None for nothing and for what is no file."""
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        target = os.readlink(name, dir_fd=folder) if S_ISLNK(facts.st_mode) else ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _entry(facts, target)


def _entry(facts: os.stat_result, target: str = "") -> Entry | None:
    if S_ISREG(facts.st_mode):
        kind = FileKind.FILE
    elif S_ISLNK(facts.st_mode):
        kind = FileKind.LINK
    elif S_ISDIR(facts.st_mode):
        kind = FileKind.FOLDER
    else:
        return None
    return Entry(
        kind,
        S_IMODE(facts.st_mode) & 0o777,
        facts.st_size,
        facts.st_ino,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        facts.st_uid,
        facts.st_gid,
        target,
    )


def walk(root: Path, visit: Visit) -> None:
    """Call ``visit`` for all below ``root``, folders before what is in them.

    Raises ToolError for names that are no text and for folders too deep.
    """
    fd = os.open(root, _FOLDER)
    try:
        _walk(fd, "", 0, visit)
    finally:
        os.close(fd)


def _walk(folder: int, prefix: str, depth: int, visit: Visit) -> None:
    if depth > MAX_DEPTH:
        raise ToolError(f"{prefix[:200]!r}: more than {MAX_DEPTH} folders within folders.")
    for name in sorted(os.listdir(folder)):
        if name.endswith(TEMPORARY_SUFFIX):
            continue
        path = prefix + name
        entry = entry_at(folder, name)
        if entry is None:
            continue
        _check_text(path, entry.target)
        visit(folder, name, path, entry)
        if entry.kind is FileKind.FOLDER:
            with suppress(FileNotFoundError, NotADirectoryError):  # it went meanwhile
                inner = _open_folder(folder, name, entry.mode)
                try:
                    _walk(inner, f"{path}/", depth + 1, visit)
                finally:
                    os.close(inner)


def _open_folder(folder: int, name: str, mode: int) -> int:
    """The open folder; one that a command closed to its own owner is opened again."""
    if mode & 0o500 != 0o500 and os.geteuid() != 0:
        os.chmod(name, mode | 0o700, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _check_text(*names: str) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ToolError(f"the file name {name!r} is not valid text.") from None


def scan(root: Path) -> dict[str, Entry]:
    """All below ``root`` by path, folders before what is in them. Raises ToolError."""
    found: dict[str, Entry] = {}

    def note(_folder: int, _name: str, path: str, entry: Entry) -> None:
        found[path] = entry

    walk(root, note)
    return found


@contextmanager
def parent(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """The open folder that holds ``path``, and the name in it. No symlink is followed.

    Raises FileNotFoundError (also for a path with ``..``), NotADirectoryError (also for a
    symlink on the way).
    """
    *folders, name = path.split("/")
    if ".." in (*folders, name):
        raise FileNotFoundError(errno.ENOENT, "a path that leads out", path)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in folders:
            inner = os.open(each, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd, name
    finally:
        os.close(fd)


def look(root: Path, path: str) -> Entry | None:
    """What stands at ``path`` below ``root``; None for nothing."""
    try:
        with parent(root, path) as (folder, name):
            return entry_at(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def sync_at(folder: int, name: str) -> None:
    """Bring a file to the disk; anything else is left alone. Raises OSError."""
    entry = entry_at(folder, name)
    if entry is None or entry.kind is not FileKind.FILE:
        return
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def digest_at(folder: int, name: str) -> str:
    """sha256 in hex of a file's content. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except PermissionError:
        # A command closed it to its own owner, which we are.
        os.chmod(name, 0o400 | S_IMODE(os.stat(name, dir_fd=folder).st_mode), dir_fd=folder)
        fd = os.open(name, flags, dir_fd=folder)
    digest = hashlib.sha256()
    with os.fdopen(fd, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def state_at(root: Path, path: str) -> FileState | None:
    """What stands at ``path``, with a file's digest; None for nothing. Raises OSError."""
    try:
        with parent(root, path) as (folder, name):
            entry = entry_at(folder, name)
            if entry is None:
                return None
            digest = digest_at(folder, name) if entry.kind is FileKind.FILE else ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state_of(entry, digest)


def state_of(entry: Entry, digest: str) -> FileState:
    """An entry as it is logged. Modes of links mean nothing and are left out."""
    if entry.kind is FileKind.LINK:
        return FileState(kind=entry.kind, mode=0o777, target=entry.target)
    size = entry.size if entry.kind is FileKind.FILE else 0
    return FileState(kind=entry.kind, digest=digest, size=size, mode=entry.mode)


def remove_tree(root: Path) -> None:
    """Remove a folder with all in it, however deep a command has made it and whatever modes.

    Folders are lifted to the top before they are emptied: no recursion, no long paths. Several
    may do it at once; nothing happens when it is not there. Raises OSError.
    """
    try:
        top = os.open(root, _FOLDER)
    except FileNotFoundError:
        return
    try:
        while names := os.listdir(top):  # noqa: PTH208 - an open folder
            for name in names:
                with suppress(FileNotFoundError):
                    _remove(top, name, top)
    finally:
        os.close(top)
    try:
        root.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        remove_tree(root)


def _remove(folder: int, name: str, top: int) -> None:
    facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not S_ISDIR(facts.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    if S_IMODE(facts.st_mode) & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=folder)
    if folder != top:
        os.rename(name, secrets.token_hex(12), src_dir_fd=folder, dst_dir_fd=top)
        return
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for each in os.listdir(inner):  # noqa: PTH208 - an open folder
            with suppress(FileNotFoundError):
                _remove(inner, each, top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
