"""Which files a command read and wrote, as far as can be told from outside.

Writes are found by comparing the area before and after: size, inode and both change times (a
command can forge the modification time, not the inode's). Reads are a first approximation: the
files that the command names. Files it reads without naming them are found later, by perturbing
the inputs of a learned trace.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.execution.tools.globs import glob_pattern
from llmos_workers.execution.tools.search import walk_files
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX
from llmos_workers.kernel.workspace import digest_file

MAX_FILES = 20_000
MAX_NAMED = 200
MAX_DIGESTED = 2_000

Stamp = tuple[int, int, int, int]
_WORD = re.compile(r"[^\s'\"`|&;<>()$=,:]+")


class Snapshot:
    """The regular files of an area at one moment, with what tells a change."""

    def __init__(self, area: Path) -> None:
        self.area = area
        self.files: dict[str, Stamp] = {}
        self.complete = True
        """False: the area has more files than are looked at."""
        owner = area.stat().st_uid
        for path, facts in walk_files(area):
            if path.endswith(TEMPORARY_SUFFIX):
                continue
            if len(self.files) >= MAX_FILES:
                self.complete = False
                break
            # Another's file under a second name here: no command can write to it, and whoever
            # gives it one more name (another run's stage) moves its change time.
            linked = facts.st_nlink > 1 and facts.st_uid != owner
            changed = 0 if linked else facts.st_ctime_ns
            self.files[path] = (facts.st_size, facts.st_ino, facts.st_mtime_ns, changed)

    def changes_since(self, before: Snapshot) -> tuple[FileDigest, ...]:
        """Files made, changed or removed (digest None) since ``before``, by path."""
        now, then = self.files, before.files
        changed = {path for path, stamp in now.items() if then.get(path) != stamp}
        removed = then.keys() - now.keys() if self.complete else set()
        digests = []
        for path in sorted(changed | removed)[:MAX_DIGESTED]:
            try:
                digests.append(digest_file(self.area, path))
            except ToolError:
                continue  # gone or replaced since the snapshot: someone else's change
        return tuple(digests)

    def named_in(self, command: str) -> tuple[FileDigest, ...]:
        """Digests of the files that words of a command name, directly or by a glob."""
        named: set[str] = set()
        for word in dict.fromkeys(_WORD.findall(command)):
            plain = word.removeprefix("./").rstrip("/")
            if plain in self.files:
                named.add(plain)
            elif any(char in plain for char in "*?["):
                try:
                    wanted = glob_pattern(plain)
                except ToolError:
                    continue
                named.update(path for path in self.files if wanted.fullmatch(path))
            if len(named) > MAX_NAMED:
                break
        return tuple(digest_file(self.area, path) for path in sorted(named)[:MAX_NAMED])
