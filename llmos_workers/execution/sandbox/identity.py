"""Which user a confined command runs as, when the worker is root.

A command that runs as root's user id could change modes and times of root's files elsewhere,
and could not be held to a number of processes. So the area is given to a user id that nobody
has, and its commands run as that user. A folder that already belongs to somebody keeps its
owner, and commands run as that one.
"""

from __future__ import annotations

import functools
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

logger = logging.getLogger(__name__)

UNUSED_IDS = range(60_706, 61_184)
"""User ids that no distribution, systemd included, gives to anyone."""

_CAP_CHOWN, _CAP_DAC_READ_SEARCH, _CAP_SETGID, _CAP_SETUID = 0, 2, 6, 7


@dataclass(frozen=True)
class Identity:
    """A user and group; ``search``: may pass folders that are closed to it."""

    uid: int
    gid: int
    search: bool = False


def capabilities() -> int:
    """The worker's effective capabilities as a bit mask; 0 when that cannot be told."""
    return _capabilities(os.getpid(), os.geteuid())


@functools.lru_cache(maxsize=1)
def _capabilities(_pid: int, _euid: int) -> int:
    """Read once for each process and user: they change with the user."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("CapEff:")[2].split()[0], 16)


def can_change_user() -> bool:
    """Whether this process is root with the capabilities to give files away and become another."""
    held = capabilities()
    needed = (_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID)
    return os.geteuid() == 0 and all(held >> capability & 1 for capability in needed)


def identity_of(area: Path, also: list[str]) -> Identity | None:
    """Who commands in ``area`` run as; None: as the worker's own user.

    ``also`` are folders outside that they must reach.
    """
    if not can_change_user():
        return None
    owner = area.stat()
    if not owner.st_uid:
        return None
    closed = any(not _open_to_all(Path(path)) for path in [str(area), *also])
    if closed and not capabilities() >> _CAP_DAC_READ_SEARCH & 1:
        return None
    return Identity(owner.st_uid, owner.st_gid, search=closed)


def _open_to_all(path: Path) -> bool:
    """Whether any user may pass all folders above ``path``."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def give_away(area: Path) -> None:
    """As root, give an area of root's, with all in it, to an unused user id.

    Files in it that root made since are given to the area's owner too. Files with a second
    name are left alone: the other name may lie anywhere. Walks open folders, never symlinks.
    """
    if not can_change_user():
        return
    owner = area.stat()
    uid, gid = owner.st_uid, owner.st_gid
    if not uid:
        uid = gid = UNUSED_IDS[zlib.crc32(os.fsencode(area)) % len(UNUSED_IDS)]
        os.chown(area, uid, gid)
    for _, folders, files, fd in os.fwalk(area):
        for name in (*folders, *files):
            try:
                facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if facts.st_uid != 0 or (S_ISREG(facts.st_mode) and facts.st_nlink > 1):
                    continue
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
