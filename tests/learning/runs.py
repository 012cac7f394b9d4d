"""Recorded calls for tests, as the agent loop would record them."""

from __future__ import annotations

import hashlib
from typing import Any

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import Effect, ToolCall, ToolSpec
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.recording import output_digest


def spec(name: str, effect: Effect, *, informative: bool, destructive: bool = False) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=name,
        input_schema={"type": "object"},
        effect=effect,
        informative=informative,
        destructive=destructive,
    )


SPECS = {
    tool.name: tool
    for tool in (
        spec("Read", Effect.READ, informative=True),
        spec("Glob", Effect.READ, informative=True),
        spec("Write", Effect.IDEMPOTENT, informative=False),
        spec("Edit", Effect.EXTERNAL, informative=False),
        spec("Bash", Effect.EXTERNAL, informative=True),
        spec("SendMail", Effect.EXTERNAL, informative=False),
        spec("Wipe", Effect.IDEMPOTENT, informative=False, destructive=True),
    )
}
VERSIONS = {name: tool.version for name, tool in SPECS.items()}


def digest(path: str, text: str | None) -> FileDigest:
    if text is None:
        return FileDigest(path=path, digest=None)
    data = text.encode()
    return FileDigest(path=path, digest=hashlib.sha256(data).hexdigest(), size=len(data))


def step(
    tool: str,
    turn: int,
    arguments: dict[str, Any],
    *,
    output: str = "",
    ok: bool = True,
    reads: dict[str, str | None] | None = None,
    writes: dict[str, str | None] | None = None,
) -> TraceStep:
    known = SPECS.get(tool)
    return TraceStep(
        call=ToolCall(name=tool, arguments=arguments, call_id=f"toolu_{turn}"),
        turn=turn,
        tool_version=VERSIONS.get(tool, ""),
        ok=ok,
        exit_code=(0 if ok else 1) if tool == "Bash" else None,
        output=output,
        output_digest=output_digest(output),
        informative=known.informative if known else True,
        reads=tuple(digest(path, text) for path, text in (reads or {}).items()),
        writes=tuple(digest(path, text) for path, text in (writes or {}).items()),
    )


def write(path: str, content: str, turn: int = 1, **more: Any) -> TraceStep:
    said = f"Wrote {len(content)} bytes to {path}."
    return step(
        "Write",
        turn,
        {"path": path, "content": content},
        output=said,
        writes={path: content},
        **more,
    )


def read(path: str, content: str, turn: int = 1) -> TraceStep:
    return step("Read", turn, {"path": path}, output=content, reads={path: content})


def bash(command: str, output: str = "", turn: int = 1, **more: Any) -> TraceStep:
    return step("Bash", turn, {"command": command}, output=output, **more)
