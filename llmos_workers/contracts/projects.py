"""What a project's own settings file says: see docs/gate.md."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.hooks import HookSetting


class ProjectSettings(Contract):
    """``projects/<name>/project.toml``: the ceiling of all agents that work in the project."""

    hooks: tuple[HookSetting, ...] = ()
    """Asked after those of ``security.hooks``."""
    tools: tuple[str, ...] | None = None
    """Tools that may be used in the project, whatever agents are granted; None: no ceiling."""
    network: tuple[str, ...] | None = None
    """Hosts, with what is below them, that commands may reach in the project, whatever agents are
    granted; None: no ceiling."""
    bounds: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    """Tool -> dotted argument -> least and greatest value; holds beside the agent's own."""
