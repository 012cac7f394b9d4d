"""Bash: a shell command in the project's folder, inside the sandbox."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.sandbox.base import SandboxResult
from llmos_workers.execution.sandbox.watched import TaintedReads
from llmos_workers.execution.tools.base import ToolContext, cap
from llmos_workers.execution.tools.snapshot import Snapshot

logger = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 600.0
SHELL = "/bin/bash"


class BashTool:
    """Runs a command line with bash."""

    spec = ToolSpec(
        name="Bash",
        defer_loading=False,
        description="Run a bash command in the project's folder. It may write there only and "
        "reaches no network, but for hosts granted to the agent, through the proxy in $http_proxy. "
        "Returns stdout and stderr together. `timeout` is in seconds.",
        input_schema={
            "type": "object",
            "properties": {
                "command": {"type": "string", "minLength": 1, "maxLength": 100_000},
                "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
            },
            "required": ["command"],
            "additionalProperties": False,
        },
        effect=Effect.EXTERNAL,
        informative=True,
        timeout_s=MAX_TIMEOUT_S,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Exit code 0 is success. Raises SandboxUnavailable where the host cannot confine it."""
        command = arguments["command"]
        return run_confined([SHELL, "-c", command], command, arguments, ctx)


def run_confined(
    argv: list[str], words: str, arguments: dict[str, Any], ctx: ToolContext
) -> ToolResult:
    """Run a program in the sandbox, and find what it read and wrote.

    ``words`` are searched for names of files. Raises ToolError, SandboxUnavailable.
    """
    if "\0" in words:
        raise ToolError("the command holds a NUL character.")
    timeout = ctx.time_left(float(arguments.get("timeout", DEFAULT_TIMEOUT_S)))
    if timeout <= 0:
        raise ToolError("the goal's deadline has passed.")
    ctx.sandbox.prepare(ctx.area)
    watch = TaintedReads(ctx.area, ctx.tainted)
    before = Snapshot(ctx.area)
    reads = before.named_in(words)
    session = ctx.network.session() if ctx.network else None
    ctx.secrets.look(ctx.area, before.files)
    ended = ctx.sandbox.run(
        argv,
        cwd=ctx.area,
        timeout_s=timeout,
        cancelled=ctx.cancelled,
        network=session,
    )
    met = watch.met()
    after = Snapshot(ctx.area)
    if not after.complete:
        logger.warning("%s has too many files: changes may be missed", ctx.area)
    ctx.secrets.look(ctx.area, after.files)
    text = "\n".join([_without_place(ended.output, ctx.area), *map("[{}]".format, ended.notes)])
    output, cut = cap(text)
    error = _error(ended, timeout)
    return ToolResult(
        ok=error is None,
        output=output,
        exit_code=ended.exit_code,
        error=error,
        reads=reads,
        writes=after.changes_since(before),
        truncated=ended.truncated or cut,
        tainted=session is not None and bool(session.opened),
        tainted_file=met,
    )


def _without_place(output: str, area: Path) -> str:
    """The output with the area's own path as ``.``: each run works in another place, and where
    that is says nothing.
    """
    place = os.path.realpath(area)
    return output.replace(f"{place}/", "./").replace(place, ".")


def _error(ended: SandboxResult, timeout: float) -> str | None:
    """Why the command did not succeed; None when it did."""
    if ended.timed_out:
        return f"the command was ended after {timeout:g} s"
    if ended.cancelled:
        return "the command was ended because the goal was cancelled"
    if ended.killed_for:
        return f"the command was ended: it used too much ({ended.killed_for})"
    if ended.exit_code < 0:
        return f"the command was ended by signal {-ended.exit_code}"
    return f"exit code {ended.exit_code}" if ended.exit_code else None
