"""What one run knows of the secrets in its project's files, so that no model gets to see them.

A value is replaced in each result of a tool, by the gate, before the result is shown or written
anywhere. A reference (``«secret:API_KEY»``) is a name only. No call takes one: it would have to
be turned back into the value at a place that the model chooses, and a file written from a text
with references would hold them instead of the values. Commands read a secret where it stands.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import ToolResult
from llmos_workers.execution.secret_files import SECRET_FILE
from llmos_workers.kernel.redact import shared
from llmos_workers.kernel.secrets import (
    CONFIG_FILE,
    REFERENCE,
    either,
    find_secrets,
    replace,
    secrets_of_file,
)
from llmos_workers.kernel.workspace import peek_inside

MAX_BYTES = 256_000
"""Of a file; what is beyond is found in results by its own look only."""
MAX_FILES = 200
"""Files of secrets looked at in a project."""

REFERENCE_USED = (
    "{} stands for a value that is kept from you, and no call takes it. Leave it out; to copy or "
    "use the value, run a command that reads it from the file where it stands; to change a file "
    "that holds it, edit other lines of it."
)


class RunSecrets:
    """Values found so far, with their names. It only grows. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._paths: set[str] = set()
        self._secret: set[str] = set()
        """Of these, the files of secrets."""
        self._seen: set[tuple[str, object]] = set()
        self._found: dict[str, str] = {}
        self._either: re.Pattern[str] | None = None

    def look(self, area: Path, files: Mapping[str, object]) -> None:
        """Learn the values of a project's files of secrets; ``files``: all of its paths, each
        with what changes with its content.
        """
        with self._lock:
            fresh = files.keys() - self._paths
            self._paths |= fresh
            self._secret |= {path for path in fresh if _by_name(path.rpartition("/")[2])}
            for path in sorted(self._secret & files.keys())[:MAX_FILES]:
                self._read(area, path, files[path])

    def scrubbed(self, result: ToolResult, area: Path) -> ToolResult:
        """The result with references in place of secrets."""
        with self._lock:
            return self._scrubbed(result, area)

    def _scrubbed(self, result: ToolResult, area: Path) -> ToolResult:
        for file in result.reads:
            telling = SECRET_FILE.fullmatch(file.path) or CONFIG_FILE.fullmatch(file.path)
            if file.digest and telling:
                self._read(area, file.path, file.digest)
        output = self._clean(result.output)
        error = result.error and self._clean(result.error)
        if output == result.output and error == result.error:
            return result
        return result.model_copy(update={"output": output, "error": error})

    def _clean(self, text: str) -> str:
        text = shared().known(text)
        self._add(find_secrets(text))
        if self._either is None or not self._either.search(text):
            return replace(text, {})
        return replace(text, self._found)

    def _read(self, area: Path, path: str, stamp: object) -> None:
        if (path, stamp) in self._seen:
            return
        self._seen.add((path, stamp))
        try:
            data = peek_inside(area, path, limit=MAX_BYTES)
        except ToolError:
            return  # gone meanwhile, or no file that a tool could have read
        text = data.decode("utf-8", errors="replace")
        known = secrets_of_file(path, text) if SECRET_FILE.fullmatch(path) else None
        self._add(find_secrets(text, config=True) if known is None else known)

    def _add(self, found: Mapping[str, str]) -> None:
        fresh = {value: name for value, name in found.items() if value not in self._found}
        if fresh:
            found = self._found | fresh
            self._either, self._found = either(found), found


@lru_cache(maxsize=50_000)
def _by_name(name: str) -> bool:
    """Whether a file of that name is one of secrets. Runs of a project ask for the same ones."""
    return SECRET_FILE.fullmatch(name) is not None


def named_in(arguments: Mapping[str, Any]) -> str:
    """The first reference that a call's arguments hold; "" when they hold none."""
    match = REFERENCE.search(json.dumps(arguments, ensure_ascii=False))
    return match[0] if match else ""
