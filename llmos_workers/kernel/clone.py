"""Copies of files: shared blocks where the file system has them, bytes where it has not."""

from __future__ import annotations

import errno
import fcntl
import os

_FICLONE = 0x40049409
_UNABLE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
_CHUNK = 1 << 24


def clone(source: int, target: int) -> bool:
    """Let ``target`` share the blocks of ``source`` (open files); False: not possible here.

    Writing to either leaves the other as it is. Raises OSError (no space, for example).
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _UNABLE:
            return False
        raise
    return True


def copy(source: int, target: int) -> None:
    """Copy all bytes of ``source`` to the empty ``target``. Raises OSError."""
    at = 0
    while True:
        try:
            done = os.copy_file_range(source, target, _CHUNK, at, at)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            done = _copy_piece(source, target, at)
        if not done:
            return
        at += done


def _copy_piece(source: int, target: int, at: int) -> int:
    piece = os.pread(source, _CHUNK >> 4, at)
    done = 0
    while done < len(piece):
        done += os.pwrite(target, piece[done:], at + done)
    return done


def clone_or_copy(source: int, target: int) -> None:
    """The content of ``source`` in ``target``, the cheapest way there is. Raises OSError."""
    if not clone(source, target):
        copy(source, target)
