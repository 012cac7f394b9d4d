"""Tools of MCP servers, over stdio or HTTP, through the official ``mcp`` package (extra ``mcp``).

``workspace/mcp.json`` names the servers in the form that other programs use:
``{"mcpServers": {"NAME": {"command": ..., "args": [...], "env": {...}} or {"url": ...}}}``, and may
limit one to ``"projects": [...]``. A server's tools are called ``mcp__NAME__TOOL`` and granted one
by one, like all others. A server is started when one of its tools is first asked for.

A server runs with the worker's rights, outside of the sandbox, with a small environment without
keys. What a call does there is not known: each is an effect outside of the project, and what it
answers comes from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import Tool, ToolContext, cap
from llmos_workers.execution.tools.foreign_schema import simplified

if TYPE_CHECKING:
    from mcp import Client

logger = logging.getLogger(__name__)

PREFIX = "mcp__"
START_SECONDS = 30.0
CALL_SECONDS = 120.0
LOOK_SECONDS = 0.2


class McpServer(Contract):
    """How a server is reached: a command, or the URL of its HTTP endpoint."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    url: str = ""
    projects: tuple[str, ...] | None = None
    """Projects whose goals may use it; None: all."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("needs either command or url")
        return self


def read_servers(path: Path) -> dict[str, McpServer]:
    """The servers that a file names; none where there is no file. Raises ConfigError."""
    if not path.is_file():
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))["mcpServers"]
        return {str(name): McpServer.model_validate(server) for name, server in given.items()}
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


class McpConnection:
    """One server. Its client lives in an event loop of its own, in a thread. Thread-safe."""

    def __init__(self, name: str, server: McpServer) -> None:
        self.name, self.server = name, server
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Future[Client] = Future()

    def tools(self) -> list[Tool]:
        """Start the server and ask for its tools. Raises ToolError when it cannot be had."""
        listed = self._do(self._list(), START_SECONDS)
        return [McpTool(_spec(self.name, tool), self, tool.name) for tool in listed]

    def call(self, tool: str, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """One call. Raises ToolError when the server fails or takes too long."""
        if self.server.projects is not None and ctx.project not in self.server.projects:
            raise ToolError(f"the server {self.name} is not for project {ctx.project}.")
        made = self._do(self._call(tool, arguments), ctx.time_left(CALL_SECONDS), ctx)
        words = "\n".join(
            getattr(part, "text", None) or f"[{part.type} left out]" for part in made.content
        )
        output, cut = cap(words)
        failed = bool(made.is_error)
        error = "the server reported an error" if failed else None
        return ToolResult(ok=not failed, output=output, error=error, truncated=cut)

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None

    async def _list(self) -> list[Any]:
        client, found, cursor = await self._ready(), [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                return found

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        return await (await self._ready()).call_tool(tool, arguments)

    async def _ready(self) -> Client:
        return await asyncio.wrap_future(self._client)

    def _do(
        self, work: Coroutine[Any, Any, Any], most: float, ctx: ToolContext | None = None
    ) -> Any:
        running = asyncio.run_coroutine_threadsafe(work, self._started())
        left = most
        while True:
            try:
                return running.result(min(LOOK_SECONDS, left))
            except NotYet:
                left -= LOOK_SECONDS
                if left <= 0 or (ctx is not None and ctx.cancelled()):
                    running.cancel()
                    why = "took too long" if left <= 0 else "was broken off: the goal is cancelled"
                    raise ToolError(f"the server {self.name} {why}.") from None
            # The client of others may raise anything; it is a failed call, and a new start.
            except Exception as error:
                self.close()
                raise ToolError(
                    f"the server {self.name} failed: {type(error).__name__}."
                ) from error

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._client = Future()
                self._loop = asyncio.new_event_loop()
                arguments = (self._loop, self._client)
                threading.Thread(
                    target=self._live, args=arguments, name=f"mcp-{self.name}", daemon=True
                ).start()
            return self._loop

    def _live(self, loop: asyncio.AbstractEventLoop, ready: Future[Client]) -> None:
        """The thread: the client is entered and left by one task, as its library demands."""

        async def hold() -> None:
            try:
                async with self._make() as client:
                    ready.set_result(client)
                    await asyncio.Event().wait()
            # Whoever waits for the client gets to see why there is none.
            except Exception as error:
                logger.exception("the MCP server %s failed", self.name)
                if not ready.done():
                    ready.set_exception(error)

        asyncio.set_event_loop(loop)
        held = loop.create_task(hold())
        try:
            loop.run_forever()
            held.cancel()
            loop.run_until_complete(asyncio.gather(held, return_exceptions=True))
        finally:
            loop.close()

    def _make(self) -> Client:
        from mcp import Client, StdioServerParameters

        if self.server.url:
            return Client(self.server.url)
        given = self.server
        return Client(
            StdioServerParameters(command=given.command, args=list(given.args), env=given.env)
        )


@dataclass(frozen=True)
class McpTool:
    """A tool of a server."""

    spec: ToolSpec
    connection: McpConnection = field(repr=False)
    name: str = ""
    """What the server calls it."""

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Ask the server. Raises ToolError."""
        return self.connection.call(self.name, arguments, ctx)


def _spec(server: str, tool: Any) -> ToolSpec:
    """Everything a server says of its tool, but not that it is harmless: that is only its word."""
    schema = {"type": "object", **simplified(tool.input_schema or {})}
    said = json.dumps([tool.description, tool.input_schema], sort_keys=True)
    return ToolSpec(
        name=f"{PREFIX}{server}__{tool.name}",
        description=tool.description or tool.name,
        input_schema=schema,
        effect=Effect.EXTERNAL,
        informative=True,
        from_outside=True,
        egress=True,
        timeout_s=CALL_SECONDS,
        implementation=hashlib.sha256(said.encode()).hexdigest()[:12],
    )
