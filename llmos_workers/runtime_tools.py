"""How a worker process offers tools to models: settings, meanings of words, examples."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import ConfigError
from llmos_workers.contracts.state import TriggerType
from llmos_workers.evolution.agent_factory import AgentFactory
from llmos_workers.evolution.agent_tools import agent_tools
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.execution.tools.base import Tool
from llmos_workers.execution.tools.examples import ToolExampleGenerator
from llmos_workers.execution.tools.mcp_config import read_servers
from llmos_workers.execution.tools.mcp_servers import PREFIX, McpConnection
from llmos_workers.execution.tools.plugins import add_plugins
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.search_engine import Embed, Vectors
from llmos_workers.execution.tools.shelf import Examples, ToolUse
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.trace_seal import objection

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from llmos_workers.learning.matching.embedder import Embedder
    from llmos_workers.learning.traces import TraceManager

Feel = Callable[..., None]
"""Moves a project's internal state: trigger, reason, project=…"""

REFRESH_S = 600.0
"""Examples are chosen anew so often: each change costs the endpoint's prompt cache once."""

MAX_TRACES = 200
"""So many traces of a project, the newest, are looked at for examples."""


def system_tools(factory: AgentFactory, agents: AgentLoader, feel: Feel) -> Iterable[Tool]:
    """Tools that change the system itself; the internal state is told how it went."""

    def changed(project: str, ok: bool, words: str) -> None:
        kind = TriggerType.SELF_MODIFICATION_OK if ok else TriggerType.SELF_MODIFICATION_FAILED
        feel(kind, words, project=project)

    return agent_tools(factory, agents, changed)


def make_registry(
    config: LLMOSConfig, workspace: Path, keys: KeyRing, more: Iterable[Tool] = ()
) -> ToolRegistry:
    """Built-in tools with ``more``, those of installed packages, and those of the workspace."""
    registry = ToolRegistry.builtin(allowed_hosts=config.security.allowed_hosts)
    for tool in more:
        registry.register(tool)
    allowed = config.security.workspace_tools
    add_plugins(registry, workspace / "tools", keys, workspace_tools=allowed)
    try:
        servers = read_servers(workspace / "mcp.json")
    except ConfigError as error:
        logger.error("no MCP servers: %s", error)  # noqa: TRY400 - the message says it all
        servers = {}
    for name, server in servers.items():
        registry.add_source(f"{PREFIX}{name}__", McpConnection(name, server).tools)
    return registry


def tool_use_of(config: LLMOSConfig, embed: Callable[[], Embed]) -> ToolUse:
    """The settings as the agent loop takes them."""
    execution = config.execution
    return ToolUse(
        search=execution.enable_tool_search,
        defer_by_default=execution.defer_tools_by_default,
        defer_threshold=execution.defer_threshold,
        top_k=execution.top_k,
        references=knows_references(config),
        sequences=execution.enable_sequences,
        max_sequence_calls=execution.max_sequence_calls,
        code_execution=execution.code_execution and knows_references(config),
        compact_tokens=execution.compact_tokens,
        embed=embed if execution.search_embeddings else lambda: None,
    )


def knows_references(config: LLMOSConfig) -> bool:
    """Whether the endpoint is taken to know deferred tools and references to them."""
    asked = config.execution.tool_references
    if asked != "auto":
        return asked == "on"
    host = urlsplit(config.sdk.base_url or "").hostname or ""
    return config.sdk.base_url is None or host == "anthropic.com" or host.endswith(".anthropic.com")


def embed_with(embedder: Embedder) -> Embed:
    """The embedder as tool search takes it."""

    def embed(texts: Sequence[str]) -> Vectors:
        return [made.vector.tolist() for made in embedder.embed_many(texts)]

    return embed


class ExampleShelf:
    """Examples of tools per project, from traces that llmos vouches for. Thread-safe."""

    def __init__(
        self, traces: TraceManager, registry: ToolRegistry, clock: Clock, *, max_per_tool: int
    ) -> None:
        self._traces = traces
        self._registry = registry
        self._clock = clock
        self._generator = ToolExampleGenerator(max_per_tool)
        self._kept: dict[str, tuple[float, Examples]] = {}
        self._lock = threading.Lock()

    def of(self, project: str) -> Examples:
        """Inputs that worked in this project before, by tool; other projects' are not shown.

        Raises BrokerUnavailable.
        """
        with self._lock:
            made_at, examples = self._kept.get(project, (-REFRESH_S, {}))
            if self._clock.steady() - made_at >= REFRESH_S:
                examples = self._choose(project)
                self._kept[project] = (self._clock.steady(), examples)
            return examples

    def _choose(self, project: str) -> Examples:
        newest = sorted(self._traces.list(project), key=lambda trace: trace.created_at)
        sound = [trace for trace in newest[-MAX_TRACES:] if not objection(trace)]
        specs: Any = self._registry.all_specs().values()
        return self._generator.generate_examples(specs, sound)
