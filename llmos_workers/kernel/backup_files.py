"""Which files of a workspace a backup holds, and where its copies may go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmos_workers.contracts.errors import DataError
from llmos_workers.kernel.gate_files import Unreadable, read_line
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX

STATE_KEPT = frozenset({"keys", "audit", "counters"})
"""Folders of ``state/`` that are no copy of something else and no leftovers of processes."""

PROJECT_STATE_LEFT_OUT = frozenset({"objects", "stages", "boards", "commits"})
"""What runs under way work in, and what ``llmos undo`` would bring back."""

PRIVATE_KEY = "state/keys/signing.key"
AUDIT = "state/audit/"
REPLACEABLE = ("agents", "memories", "projects", "tools")
"""Folders of people's and goals' files, which a restore does not mix with others."""


@dataclass(frozen=True)
class Chosen:
    """What a backup is to hold."""

    private_key: bool = False
    output: bool = True
    """Files that goals made, and all else below ``projects/``."""


def files_of(root: Path, chosen: Chosen) -> Iterator[str]:
    """Paths of the files below ``root``, relative, sorted. Links are followed nowhere."""
    for folder, folders, files in os.walk(root):
        at = Path(folder).relative_to(root).as_posix()
        at = "" if at == "." else f"{at}/"
        folders[:] = sorted(name for name in folders if _wanted_folder(f"{at}{name}", chosen))
        for name in sorted(files):
            path = f"{at}{name}"
            if _wanted_file(path, chosen) and not (root / path).is_symlink():
                yield path


def checked(path: str) -> str:
    """A path from a backup. Raises DataError for one that a backup does not hold."""
    pure = PurePosixPath(path)
    plain = path == pure.as_posix() and not pure.is_absolute() and ".." not in pure.parts
    folders = [str(each) for each in reversed(pure.parents[:-1])]
    everything = Chosen(private_key=True)
    if (
        not plain
        or "\0" in path
        or not all(_wanted_folder(each, everything) for each in folders)
        or not _wanted_file(path, everything)
    ):
        raise DataError(f"the backup holds the file {path!r:.120}, which has no place there.")
    return path


def audit_until(data: bytes, chain: str, last: int) -> bytes:
    """An audit file without the records of a chain that came after number ``last``."""
    kept = []
    for line in data.splitlines(keepends=True):
        try:
            entry = read_line(line)
        except Unreadable:
            kept.append(line)  # for ``llmos gate verify`` to see, as before
            continue
        if entry.chain != chain or entry.n <= last:
            kept.append(line)
    return b"".join(kept)


def _wanted_folder(path: str, chosen: Chosen) -> bool:
    parts = path.split("/")
    if len(parts) == 1:
        return not path.startswith(".") and (path != "projects" or chosen.output)
    if parts[0] == "state":
        return parts[1] in STATE_KEPT
    if parts[0] == "projects" and len(parts) == 4 and parts[2] == "state":
        return parts[3] not in PROJECT_STATE_LEFT_OUT
    return True


def _wanted_file(path: str, chosen: Chosen) -> bool:
    parts = path.split("/")
    name = parts[-1]
    if name.endswith((TEMPORARY_SUFFIX, ".staged")) or name == ".lock":
        return False
    if len(parts) == 1:  # settings may hold secrets; what is there for git is none
        return name in (".gitignore", ".gitattributes")
    if parts[0] == "state":
        return len(parts) > 2 and (path != PRIVATE_KEY or chosen.private_key)
    return True
