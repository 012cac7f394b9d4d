"""Glob and Grep: find files by name and by content, in an order that never varies."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import ToolContext, success, whole_words
from llmos_workers.execution.tools.globs import glob_pattern
from llmos_workers.kernel import paths
from llmos_workers.kernel.workspace import digest_bytes, read_inside

MAX_RESULTS = 1_000
MAX_FILES_WALKED = 50_000
MAX_GREP_BYTES = 5_000_000
"""Larger files are not searched; the result names them."""
MAX_LINE_CHARS = 500


def walk_files(area: Path, under: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and lstat of each regular file, sorted, symlinks neither followed nor given.

    Walks open folders, so that nothing swapped in meanwhile leads out. Raises ToolError when
    ``under`` does, or is no folder.
    """
    start = paths.open_inside(area, under or ".", os.O_RDONLY | os.O_DIRECTORY)
    prefix = paths.plain(under) + "/" if under and paths.plain(under) != "." else ""
    try:
        for folder, names, files, fd in os.fwalk(".", dir_fd=start):
            names.sort()
            inner = prefix + (folder[2:] + "/" if folder != "." else "")
            for name in sorted(files):
                try:
                    facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if S_ISREG(facts.st_mode):
                    yield inner + name, facts
    finally:
        os.close(start)


def _pattern(given: str) -> re.Pattern[str]:
    if given.startswith("/") or ".." in given.split("/"):
        raise ToolError("the pattern leads out of the project's folder.")
    return glob_pattern(given.removeprefix("./"))


class GlobTool:
    """Lists files whose path matches a pattern."""

    spec = ToolSpec(
        name="Glob",
        defer_loading=False,
        description="List the project's files whose path matches a glob pattern, such as "
        "`**/*.py` or `data/*.{csv,tsv}`; one path a line, sorted.",
        input_schema={
            "type": "object",
            "properties": {"pattern": {"type": "string", "minLength": 1, "maxLength": 1_000}},
            "required": ["pattern"],
            "additionalProperties": False,
        },
        effect=Effect.READ,
        informative=True,
        timeout_s=30.0,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Sorted paths; none is a success that says so."""
        wanted = _pattern(arguments["pattern"])
        found, cut = [], False
        for number, (path, _) in enumerate(walk_files(ctx.area)):
            if number >= MAX_FILES_WALKED:
                cut = True
                break
            if wanted.fullmatch(path):
                found.append(path)
        found.sort()
        lines = found[:MAX_RESULTS]
        cut = cut or len(found) > MAX_RESULTS
        if cut:
            lines.append(f"[truncated: {len(found):,} files or more match]")
        return success("\n".join(lines) or "No file matches.", truncated=cut)


class GrepTool:
    """Finds lines that match a regular expression."""

    spec = ToolSpec(
        name="Grep",
        defer_loading=False,
        description="Search the project's text files for a Python regular expression. Returns "
        "`path:line:text` for each matching line, sorted. `path` limits it to a file or folder, "
        "`glob` to matching paths.",
        input_schema={
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "maxLength": 1_000},
                "path": {"type": "string", "minLength": 1, "maxLength": paths.MAX_PATH_CHARS},
                "glob": {"type": "string", "minLength": 1, "maxLength": 1_000},
            },
            "required": ["pattern"],
            "additionalProperties": False,
        },
        effect=Effect.READ,
        informative=True,
        timeout_s=30.0,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """``reads`` are the files with a match; binary and very large files are passed over."""
        try:
            expression = re.compile(arguments["pattern"])
        except re.error as error:
            raise ToolError(f"the pattern is no regular expression: {error}.") from None
        wanted = _pattern(arguments["glob"]) if "glob" in arguments else None
        until = time.monotonic() + ctx.time_left(self.spec.timeout_s)
        lines: list[str] = []
        reads: list[FileDigest] = []
        passed: list[str] = []
        for path in _candidates(ctx.area, arguments.get("path", ""), wanted):
            if time.monotonic() > until:
                raise ToolError("the search took too long.", fix="Narrow it with path or glob.")
            data = read_inside(ctx.area, path, limit=MAX_GREP_BYTES + 1)
            if len(data) > MAX_GREP_BYTES:
                passed.append(path)
            elif matching := list(_matches(expression, path, data)):
                reads.append(digest_bytes(path, data))
                lines += matching
            if len(lines) > MAX_RESULTS:
                break
        cut = len(lines) > MAX_RESULTS
        text = "\n".join(lines[:MAX_RESULTS]) or "No line matches."
        text += f"\n[truncated: more than {MAX_RESULTS:,} lines match]" if cut else ""
        text += f"\n[not searched, too large: {', '.join(passed[:10])}]" if passed else ""
        return success(text, reads=tuple(reads[:MAX_RESULTS]), truncated=cut)


def _candidates(area: Path, under: str, wanted: re.Pattern[str] | None) -> Iterator[str]:
    """Files to search: one file, or all below a folder that ``wanted`` matches."""
    if under and S_ISREG(_mode(area, under)):
        yield paths.plain(under)
        return
    found = []
    for number, (path, _) in enumerate(walk_files(area, under)):
        if number >= MAX_FILES_WALKED:
            raise ToolError("there are too many files.", fix="Narrow the search with path.")
        if wanted is None or wanted.fullmatch(path) or wanted.fullmatch(path.rsplit("/", 1)[-1]):
            found.append(path)
    yield from sorted(found)


def _mode(area: Path, relative: str) -> int:
    fd = paths.open_inside(area, relative)
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def _matches(expression: re.Pattern[str], path: str, data: bytes) -> Iterator[str]:
    if b"\0" in data[:8_192]:
        return
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        if expression.search(line[:10_000]):
            kept = whole_words(line, MAX_LINE_CHARS)
            shown = line if kept == len(line) else f"{line[:kept]}…"
            yield f"{path}:{number}:{shown}"
