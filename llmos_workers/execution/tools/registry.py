"""The tools that exist, by exact name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.contracts.tools import RUN_TOOLS, ToolSpec
from llmos_workers.execution.tools.base import Tool
from llmos_workers.execution.tools.bash import BashTool
from llmos_workers.execution.tools.files import EditTool, ReadTool, WriteTool
from llmos_workers.execution.tools.python import PythonTool
from llmos_workers.execution.tools.schema import check_schema
from llmos_workers.execution.tools.search import GlobTool, GrepTool
from llmos_workers.execution.tools.web import WebFetchTool

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""As the Messages API takes them."""


class ToolRegistry:
    """Holds tools; the gate asks it, and grants name what is in it."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        self._versions: dict[str, str] = {}
        for tool in tools:
            self.register(tool)

    @classmethod
    def builtin(cls, *, allowed_hosts: tuple[str, ...] = ()) -> ToolRegistry:
        """Read, Write, Edit, Glob, Grep, Bash, Python, WebFetch."""
        files: list[Tool] = [ReadTool(), WriteTool(), EditTool(), GlobTool(), GrepTool()]
        return cls([*files, BashTool(), PythonTool(), WebFetchTool(allowed_hosts)])

    def register(self, tool: Tool) -> None:
        """Add a tool. Raises ConfigError for a second of the same name or an unusable schema."""
        spec = tool.spec
        if not TOOL_NAME.fullmatch(spec.name) or spec.name in RUN_TOOLS:
            raise ConfigError(f"{spec.name[:80]!r} cannot be the name of a tool.")
        if spec.name in self._tools:
            raise ConfigError(f"there is already a tool {spec.name!r}.")
        faults = check_schema(spec.input_schema)
        if spec.input_schema.get("type") != "object":
            faults.append("the schema is not of type object")
        if faults:
            raise ConfigError(f"tool {spec.name!r}: {'; '.join(faults)}.")
        self._tools[spec.name] = tool
        # Hashed once: every dispatch and replay asks for all of them.
        self._versions[spec.name] = spec.version

    def find(self, name: str) -> Tool | None:
        """The tool of exactly that name, or None."""
        return self._tools.get(name)

    def get(self, name: str) -> Tool:
        """The tool of exactly that name. Raises ToolError naming those that exist."""
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"there is no tool {name!r}.", fix=f"Tools: {', '.join(self._tools)}.")
        return tool

    def names(self) -> list[str]:
        """All names, in order of registration."""
        return list(self._tools)

    def specs(self, names: Iterable[str] | None = None) -> list[ToolSpec]:
        """Specs of the named tools (unknown names are left out), or of all, in stable order."""
        wanted = None if names is None else set(names)
        return [tool.spec for name, tool in self._tools.items() if wanted is None or name in wanted]

    def all_specs(self) -> dict[str, ToolSpec]:
        """Each tool's spec by its name."""
        return {name: tool.spec for name, tool in self._tools.items()}

    def versions(self) -> dict[str, str]:
        """Each tool's version: what a recorded call is compared with."""
        return dict(self._versions)
