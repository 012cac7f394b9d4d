"""Paths inside a folder, resolved so that no symlink leads out, at the moment of use.

A check of a path and a later use of the same path are two moments: whoever may write the folder
can put a symlink in between. So nothing here returns a string to be opened later; each function
walks from an open folder, one component at a time, never letting the kernel follow a symlink.
Symlinks that stay inside are followed by hand; all others are refused.
"""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISLNK

from llmos_workers.contracts.errors import FileMissing, ToolError, WorkspaceUnwritable

MAX_LINKS = 40
"""Symlinks followed for one path before it is called a loop."""

MAX_PATH_CHARS = 4_096
FOLDER_MODE = 0o755
FILE_MODE = 0o644

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO)


TEMPORARY_SUFFIX = ".llmos-tmp"
"""Ends the names of files that are still being written; nobody else's business."""


def plain(relative: str) -> str:
    """The shortest spelling of a relative path, as digests and messages name it.

    Symlinks are kept: a digest follows them each time it is taken.
    """
    return posixpath.normpath("/".join(split_relative(relative)) or ".")


def split_relative(relative: object) -> list[str]:
    """Components of a relative path, ``.`` and empty ones dropped. Raises ToolError."""
    if not isinstance(relative, str) or not relative.strip():
        raise ToolError("the path is empty.", fix="Give a path relative to the project's folder.")
    if "\0" in relative or len(relative) > MAX_PATH_CHARS:
        raise ToolError("the path holds a NUL character or is too long.")
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise ToolError(f"the path {relative!r} is not valid text.") from None
    if relative.startswith("/"):
        raise ToolError(
            f"the path {relative!r} is absolute.",
            fix="Give a path relative to the project's folder.",
        )
    return [part for part in relative.split("/") if part not in ("", ".")]


class _Walk:
    """An open way from a base folder downward; ``..`` pops, so it can never leave the base."""

    def __init__(self, base: Path, relative: str) -> None:
        self.relative = relative
        self.links = 0
        try:
            self.folders = [os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        except OSError as error:
            raise refuse(str(base), error) from None
        self.names: list[str] = []

    @property
    def fd(self) -> int:
        return self.folders[-1]

    def close(self) -> None:
        for fd in self.folders:
            os.close(fd)

    def outside(self) -> ToolError:
        return ToolError(
            f"the path {self.relative!r} leads out of the project's folder.",
            fix="Stay inside the project's folder.",
        )

    def up(self) -> None:
        if not self.names:
            raise self.outside()
        os.close(self.folders.pop())
        self.names.pop()

    def link_parts(self, name: str) -> list[str] | None:
        """Components a symlink points to; None when ``name`` is no symlink."""
        try:
            if not S_ISLNK(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode):
                return None
            target = os.readlink(name, dir_fd=self.fd)
        except OSError:
            return None
        self.links += 1
        if target.startswith("/"):
            raise self.outside()
        if self.links > MAX_LINKS:
            raise ToolError(f"the path {self.relative!r} has too many symlinks.")
        return [part for part in target.split("/") if part not in ("", ".")]

    def down(self, name: str, *, create: bool) -> None:
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=self.fd)
                give_to_owner_of(self.fd, name)
        self.folders.append(os.open(name, _FOLDER, dir_fd=self.fd))
        self.names.append(name)

    def walk(self, parts: list[str], *, create: bool, follow_last: bool) -> str:
        """Enter all folders; returns the last component's name (``""``: the folder itself)."""
        pending = list(parts)
        while pending:
            name = pending.pop(0)
            if name == "..":
                self.up()
                continue
            last = not pending
            linked = self.link_parts(name) if (follow_last or not last) else None
            if linked is not None:
                pending = linked + pending
            elif last:
                return name
            else:
                self.down(name, create=create)
        return ""


@contextmanager
def inside(
    base: Path, relative: str, *, create: bool = False, follow_last: bool = True
) -> Iterator[tuple[int, str, str]]:
    """The open folder that holds ``relative``, the name in it, and the resolved relative path.

    The name is ``""`` when the path is the base itself. ``create`` makes missing folders. With
    ``follow_last`` a symlink in last place is followed too (inside the base). Raises ToolError
    when the path leads out or a folder in it is missing, WorkspaceUnwritable when one cannot
    be made.
    """
    walk = _Walk(base, relative)
    try:
        try:
            name = walk.walk(split_relative(relative), create=create, follow_last=follow_last)
        except OSError as error:
            raise refuse(relative, error, writing=create) from None
        yield walk.fd, name, "/".join([*walk.names, name] if name else walk.names)
    finally:
        walk.close()


def resolve_inside(base: Path, relative: str) -> Path:
    """Where ``relative`` really lies. Raises ToolError when it leads out of ``base``.

    For messages and listings only: whoever opens the path later must use open_inside or
    write_inside, because a symlink may have been put there since.
    """
    with inside(base, relative) as (_, _, resolved):
        return base / resolved


def open_inside(base: Path, relative: str, flags: int = os.O_RDONLY) -> int:
    """File descriptor of an existing file. Raises ToolError; the caller closes it.

    Never blocks on a FIFO and never makes a terminal the process's own.
    """
    safe = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    with inside(base, relative) as (folder, name, _):
        try:
            return os.open(name or ".", safe, dir_fd=folder)
        except OSError as error:
            raise refuse(relative, error) from None


def write_inside(base: Path, relative: str, data: bytes, *, sync: bool = True) -> str:
    """Replace a file's content in one step; returns the resolved relative path.

    Readers see the old content or the new, never a part: a temporary file in the same folder
    is written, synced (unless ``sync`` is False) and renamed. An existing file keeps its mode.
    As root, the file belongs to the owner of its folder. Raises ToolError (bad path, a folder
    of that name) and WorkspaceUnwritable (read-only, permission, disk full).
    """
    with inside(base, relative, create=True) as (folder, name, resolved):
        if not name:
            raise ToolError(f"{relative!r} is a folder, not a file.")
        if relative.endswith("/"):
            raise ToolError(f"{relative!r} names a folder, not a file.")
        try:
            _replace(folder, name, data, sync=sync)
        except OSError as error:
            raise refuse(relative, error, writing=True) from None
        return resolved


def _replace(folder: int, name: str, data: bytes, *, sync: bool) -> None:
    """Write, sync, rename; the temporary file is gone whatever happens."""
    temporary = f".{name[:100]}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, FILE_MODE, dir_fd=folder)
    try:
        try:
            with suppress(FileNotFoundError):
                before = os.stat(name, dir_fd=folder, follow_symlinks=False)
                os.fchmod(fd, before.st_mode & 0o777)
            give_to_owner_of(folder, temporary)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def give_to_owner_of(folder: int, name: str) -> None:
    """As root, make ``name`` belong to the owner of the open folder it lies in.

    Confined commands run as that owner and must be able to change what other tools wrote.
    """
    if os.geteuid() != 0:
        return
    owner = os.fstat(folder)
    if owner.st_uid != 0:
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)


def refuse(path: str, error: OSError, *, writing: bool = False) -> ToolError | WorkspaceUnwritable:
    """The error of ours for an error of the operating system about ``path``."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if writing and error.errno in _UNWRITABLE:
        return WorkspaceUnwritable(
            f"{path} cannot be written: {reason}.",
            fix="Check the workspace's permissions and free space (llmos doctor).",
        )
    if error.errno == errno.ELOOP:
        return ToolError(f"the path {path!r} is or leads through a symlink that changed.")
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not writing:
        return FileMissing(f"{path!r} does not exist.")
    return ToolError(f"{path!r} cannot be opened: {reason}.")
