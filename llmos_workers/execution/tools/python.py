"""Python: a program in the project's folder, inside the sandbox, as Bash runs a command."""

from __future__ import annotations

from typing import Any

from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.bash import MAX_TIMEOUT_S, run_confined

MAX_CODE_CHARS = 30_000
"""It travels as one argument, of which the system takes 128 KiB."""


class PythonTool:
    """Runs Python code with the interpreter of the host, not with that of the worker."""

    spec = ToolSpec(
        name="Python",
        defer_loading=False,
        description="Run Python code in the project's folder. It may write there only and "
        "reaches no network, but for hosts granted to the agent, through the proxy in http_proxy. "
        "Returns what it prints, errors included. `timeout` is in seconds.",
        input_schema={
            "type": "object",
            "properties": {
                "code": {"type": "string", "minLength": 1, "maxLength": MAX_CODE_CHARS},
                "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
            },
            "required": ["code"],
            "additionalProperties": False,
        },
        effect=Effect.EXTERNAL,
        informative=True,
        timeout_s=MAX_TIMEOUT_S,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Exit code 0 is success. Raises SandboxUnavailable where the host cannot confine it."""
        code = arguments["code"]
        return run_confined(["/usr/bin/env", "python3", "-c", code], code, arguments, ctx)
