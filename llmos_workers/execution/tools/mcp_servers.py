"""Tools of MCP servers, over stdio or HTTP, through the official ``mcp`` package (extra ``mcp``).

``workspace/mcp.json`` names the servers (mcp_config). A server's tools are called
``mcp__NAME__TOOL`` and granted one by one, like all others. A server is started, or connected to,
when one of its tools is first asked for, and again after it failed.

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
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import Tool, ToolContext, cap
from llmos_workers.execution.tools.foreign_schema import simplified
from llmos_workers.execution.tools.mcp_config import McpServer, filled

if TYPE_CHECKING:
    from mcp import Client

logger = logging.getLogger(__name__)

PREFIX = "mcp__"
START_SECONDS = 30.0
CALL_SECONDS = 120.0
LOOK_SECONDS = 0.2
MAX_WORDS = 200


class _SessionGone(ToolError):
    """The server was started anew and does not know our session: what we sent did not run."""


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
        try:
            made = self._do(self._call(tool, arguments), ctx.time_left(CALL_SECONDS), ctx)
        except _SessionGone:
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
                kind = _SessionGone if _unknown_session(error) else ToolError
                raise kind(f"the server {self.name} failed: {_words(error)}.") from error

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

        given = self.server
        if given.url:
            return Client(self._over_http())
        env = filled(given.env)
        return Client(StdioServerParameters(command=given.command, args=list(given.args), env=env))

    @asynccontextmanager
    async def _over_http(self) -> AsyncIterator[Any]:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        timeout = httpx2.Timeout(START_SECONDS, read=CALL_SECONDS)
        async with (
            httpx2.AsyncClient(headers=filled(self.server.headers), timeout=timeout) as client,
            streamable_http_client(self.server.url, http_client=client) as streams,
        ):
            yield streams


def _unknown_session(error: BaseException) -> bool:
    """Whether this is the answer to a session that an HTTP endpoint does not know (404)."""
    return str(error) in ("Session terminated", "Session not found")


def _words(error: BaseException) -> str:
    """Type and first words of what is behind an error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())[:MAX_WORDS]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


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
