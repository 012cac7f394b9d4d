"""The tools that exist, by exact name."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable

from llmos_workers.contracts.errors import ConfigError, LLMOSError, ToolError
from llmos_workers.contracts.tools import RUN_TOOLS, ToolSpec
from llmos_workers.execution.tools.base import Tool
from llmos_workers.execution.tools.bash import BashTool
from llmos_workers.execution.tools.files import EditTool, ReadTool, WriteTool
from llmos_workers.execution.tools.python import PythonTool
from llmos_workers.execution.tools.schema import check_schema
from llmos_workers.execution.tools.search import GlobTool, GrepTool
from llmos_workers.execution.tools.web import WebFetchTool

logger = logging.getLogger(__name__)

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""As the Messages API takes them."""


class ToolRegistry:
    """Holds tools; the gate asks it, and grants name what is in it."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        self._versions: dict[str, str] = {}
        self._sources: dict[str, Callable[[], Iterable[Tool]]] = {}
        self._loading = threading.Lock()
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

    def add_source(self, prefix: str, load: Callable[[], Iterable[Tool]]) -> None:
        """Tools whose names begin with ``prefix`` are loaded when the first of them is asked for.

        A source that fails (LLMOSError) is asked again the next time.
        """
        self._sources[prefix] = load

    def find(self, name: str) -> Tool | None:
        """The tool of exactly that name, or None."""
        if name not in self._tools and self._sources:
            self._load(name)
        return self._tools.get(name)

    def _load(self, name: str) -> None:
        with self._loading:
            for prefix in [prefix for prefix in self._sources if name.startswith(prefix)]:
                try:
                    for tool in self._sources[prefix]():
                        try:
                            self.register(tool)
                        except ConfigError as error:
                            logger.warning("a tool is left out: %s", error)
                    del self._sources[prefix]
                except LLMOSError as error:
                    logger.warning("tools %s* cannot be had: %s", prefix, error)

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
        for name in sorted(wanted or ()):
            self.find(name)
        return [tool.spec for name, tool in self._tools.items() if wanted is None or name in wanted]

    def all_specs(self) -> dict[str, ToolSpec]:
        """Each tool's spec by its name."""
        return {name: tool.spec for name, tool in self._tools.items()}

    def versions(self) -> dict[str, str]:
        """Each tool's version: what a recorded call is compared with."""
        return dict(self._versions)
