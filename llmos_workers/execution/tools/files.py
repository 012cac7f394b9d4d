"""Read, Write, Edit: files of the project's folder, one at a time."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from stat import S_ISREG
from typing import Any

from llmos_workers.contracts.errors import FileMissing, ToolError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import MAX_OUTPUT_CHARS, ToolContext, success, whole_words
from llmos_workers.kernel import paths
from llmos_workers.kernel.workspace import digest_bytes, read_inside

MAX_WRITE_CHARS = 10_000_000
MAX_EDIT_BYTES = 20_000_000
_SNIFF_BYTES = 8_192
_LINE_BYTES = 4 * MAX_OUTPUT_CHARS
"""Longest piece of a line held in memory at once."""

_PATH = {
    "type": "string",
    "minLength": 1,
    "maxLength": paths.MAX_PATH_CHARS,
    "description": "Path relative to the project's folder.",
}


class ReadTool:
    """Shows a text file, or some of its lines."""

    spec = ToolSpec(
        name="Read",
        defer_loading=False,
        description="Read a text file of the project. Returns its text exactly; long files are "
        "cut, then ask for a part with offset (first line, from 1) and limit (lines).",
        input_schema={
            "type": "object",
            "properties": {
                "path": _PATH,
                "offset": {"type": "integer", "minimum": 1},
                "limit": {"type": "integer", "minimum": 1},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
        effect=Effect.READ,
        informative=True,
        timeout_s=30.0,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """The text; ``reads`` holds the digest of the whole file. A missing file is a result."""
        path = arguments["path"]
        first, count = int(arguments.get("offset", 1)), arguments.get("limit")
        try:
            fd = paths.open_inside(ctx.area, path)
        except FileMissing as error:
            gone = FileDigest(path=paths.plain(path), digest=None)
            return ToolResult(
                ok=False, error=error.message, error_kind="FileMissing", reads=(gone,)
            )
        taken = _take_lines(fd, path, first, None if count is None else int(count))
        read = FileDigest(path=paths.plain(path), digest=taken.digest, size=taken.size)
        if first > max(taken.lines, 1):
            raise ToolError(f"{path!r} has {taken.lines} lines; offset {first} is past its end.")
        text = taken.text.decode("utf-8", errors="replace")
        if taken.more:
            text = text[: whole_words(f"{text}…", len(text))]
            text += f"\n[truncated: the file has {taken.size:,} bytes, {taken.lines:,} lines]"
        return ToolResult(ok=True, output=text, reads=(read,), truncated=taken.more)


@dataclass
class _Taken:
    """Lines of a file, and facts about the whole of it."""

    text: bytes = b""
    more: bool = False
    """Whether something that was asked for did not fit."""
    lines: int = 0
    size: int = 0
    digest: str = ""


def _take_lines(fd: int, path: str, first: int, count: int | None) -> _Taken:
    """Read a file once: hash all of it, keep the asked lines up to the cap."""
    taken, sha = _Taken(), hashlib.sha256()
    kept, room, number, at_start = bytearray(), MAX_OUTPUT_CHARS, 0, True
    last = None if count is None else first + count - 1
    with os.fdopen(fd, "rb") as file:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise ToolError(f"{path!r} is not a regular file.")
        while piece := file.readline(_LINE_BYTES):
            if b"\0" in piece[:_SNIFF_BYTES] and taken.size < _SNIFF_BYTES:
                size = os.fstat(fd).st_size
                raise ToolError(f"{path!r} is a binary file ({size:,} bytes), not text.")
            sha.update(piece)
            taken.size += len(piece)
            number += at_start
            at_start = piece.endswith(b"\n")
            if number >= first and (last is None or number <= last):
                taken.more = taken.more or len(piece) > room
                kept += piece[:room]
                room -= min(room, len(piece))
    taken.text, taken.lines, taken.digest = bytes(kept), number, sha.hexdigest()
    return taken


class WriteTool:
    """Creates a file or replaces its content."""

    spec = ToolSpec(
        name="Write",
        defer_loading=False,
        description="Create a file of the project with exactly this content, or replace the "
        "content it has. Missing folders are made.",
        input_schema={
            "type": "object",
            "properties": {
                "path": _PATH,
                "content": {"type": "string", "maxLength": MAX_WRITE_CHARS},
            },
            "required": ["path", "content"],
            "additionalProperties": False,
        },
        effect=Effect.IDEMPOTENT,
        informative=False,
        timeout_s=30.0,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """The output says only what the call said, so that it is the same each time."""
        data = _encode(arguments["content"])
        resolved = paths.write_inside(ctx.area, arguments["path"], data, sync=ctx.durable)
        written = digest_bytes(resolved, data)
        return success(f"Wrote {len(data)} bytes to {resolved}.", writes=(written,))


class EditTool:
    """Replaces a piece of text in a file.

    EXTERNAL, not IDEMPOTENT: the same edit again fails, or (when ``new`` holds ``old``) edits
    once more, so it must not be repeated when it is unknown whether it happened.
    """

    spec = ToolSpec(
        name="Edit",
        defer_loading=False,
        description="Replace the text `old` by `new` in a file of the project. `old` must occur "
        "exactly once, unless all is true.",
        input_schema={
            "type": "object",
            "properties": {
                "path": _PATH,
                "old": {"type": "string", "minLength": 1},
                "new": {"type": "string", "maxLength": MAX_WRITE_CHARS},
                "all": {"type": "boolean"},
            },
            "required": ["path", "old", "new"],
            "additionalProperties": False,
        },
        effect=Effect.EXTERNAL,
        informative=False,
        timeout_s=30.0,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """``reads`` is the file before, ``writes`` after."""
        path = arguments["path"]
        old, new = _encode(arguments["old"]), _encode(arguments["new"])
        before = read_inside(ctx.area, path, limit=MAX_EDIT_BYTES + 1)
        if len(before) > MAX_EDIT_BYTES:
            raise ToolError(f"{path!r} has more than {MAX_EDIT_BYTES:,} bytes.")
        count = before.count(old)
        if not count:
            raise ToolError(f"`old` does not occur in {path!r}.")
        if count > 1 and not arguments.get("all", False):
            raise ToolError(
                f"`old` occurs {count} times in {path!r}.",
                fix="Give more of the text around it, or set all to true.",
            )
        after = before.replace(old, new)
        if len(after) > MAX_EDIT_BYTES:
            raise ToolError(f"{path!r} would have more than {MAX_EDIT_BYTES:,} bytes.")
        resolved = paths.write_inside(ctx.area, path, after, sync=ctx.durable)
        times = "once" if count == 1 else f"{count} times"
        return success(
            f"Edited {resolved}: replaced {times}.",
            reads=(digest_bytes(paths.plain(path), before),),
            writes=(digest_bytes(resolved, after),),
        )


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolError("the text holds lone surrogates, which are no valid characters.") from None
