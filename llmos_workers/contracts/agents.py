"""An agent as its Markdown file defines it."""

from __future__ import annotations

import re

from pydantic import Field

from llmos_workers.contracts.base import Contract

AGENT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


AUTO = "auto"
"""Stands for an agent's name where llmos is to choose one; no agent may be called so."""


class AgentDefinition(Contract):
    """Front matter and body of ``workspace/agents/<name>.md``."""

    name: str
    description: str
    prompt: str
    """The Markdown body: the agent's system prompt."""
    tools: tuple[str, ...] = ()
    """Exact names of the tools it may call; nothing else passes the gate."""
    network: tuple[str, ...] = ()
    """Hosts, with what is below them, that its commands may reach, as far as
    security.allowed_hosts holds them too; empty: none."""
    model: str | None = None
    """Model id or alias (haiku, sonnet, opus); None: the configured model."""
    version: int = Field(default=1, ge=1)
    status: str = "active"
    max_turns: int | None = Field(default=None, ge=1)
    bounds: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    """Tool -> dotted argument -> least and greatest value; see contracts/bounds."""
    capabilities: tuple[str, ...] = ()
    path: str = ""
