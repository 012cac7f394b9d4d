"""Former contents of a project's files, kept for a while so that a commit can be undone.

``projects/<project>/state/objects/<2 digits>/<sha256>``. A file that is about to be replaced or
removed gets a second name here: no bytes are copied.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.kernel import tree
from llmos_workers.kernel.clone import clone_or_copy
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX
from llmos_workers.kernel.workspace import make_folder


@dataclass(frozen=True)
class KeepLimits:
    """How much is kept of what was replaced; the oldest goes first."""

    count: int = 10_000
    size: int = 1 << 30
    """Bytes."""
    age_s: float = 30 * 86_400.0


class Objects:
    """The kept contents of one project, by digest."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where a content lies, when it is kept."""
        return self.root / digest[:2] / digest

    def keep(self, digest: str, folder: int, name: str) -> None:
        """Keep a file of an open folder whose content has this digest. Raises OSError."""
        place = self.path(digest)
        make_folder(place.parent)
        if self._holds(digest, os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino):
            return
        try:
            os.link(name, place, src_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return  # somebody else has just kept the same
        except OSError:
            # Another file system, or somebody else's file, which not every user may link.
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _copy_to(source, place)
            finally:
                os.close(source)

    def _holds(self, digest: str, inode: int) -> bool:
        """Whether the content is kept already. What is not it any more (a person wrote into the
        published file while it had this second name) is dropped.
        """
        place = self.path(digest)
        with suppress(FileNotFoundError):
            if place.stat().st_ino == inode:
                return True
            kept = tree.state_at(place.parent, digest)
            if kept is not None and kept.digest == digest:
                return True
            place.unlink()
        return False

    def fetch(self, digest: str, target: Path) -> bool:
        """Copy a kept content to a new file; False when it is no longer kept, or not as it was.

        Raises OSError.
        """
        try:
            source = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            _copy_to(source, target)
        finally:
            os.close(source)
        state = tree.state_at(target.parent, target.name)
        return state is not None and state.digest == digest

    def prune(self, limits: KeepLimits, *, now: float | None = None) -> int:
        """Forget what is past the limits; how many contents."""
        at, count, size, removed = time.time() if now is None else now, 0, 0, 0
        # The change time of a kept file is when it lost its other name, about.
        for facts, path in sorted(self._all(), key=lambda item: -item[0].st_ctime):
            count, size = count + 1, size + facts.st_blocks * 512
            if count > limits.count or size > limits.size or at - facts.st_ctime > limits.age_s:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _all(self) -> Iterator[tuple[os.stat_result, Path]]:
        for path in self.root.glob("??/*"):
            with suppress(FileNotFoundError):
                yield path.stat(), path


def _copy_to(source: int, place: Path) -> None:
    """Copy an open file to a path that does not exist, whole or not at all."""
    temporary = place.with_name(f"{place.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    with temporary.open("xb") as target:
        clone_or_copy(source, target.fileno())
    temporary.rename(place)
