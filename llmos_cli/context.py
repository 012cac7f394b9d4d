"""What all commands share: the global options, and what is made from them when needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmos_cli.lean import lean_redis
from llmos_workers.contracts.errors import ConfigError

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS
    from llmos_workers.config import LLMOSConfig
    from llmos_workers.execution.tools.registry import ToolRegistry


@dataclass
class Session:
    """One run of the command line."""

    config_path: str | None = None
    preset: str | None = None
    workspace: str | None = None
    redis_url: str | None = None

    @cached_property
    def _loaded(self) -> tuple[LLMOSConfig, dict[str, str]]:
        from llmos_workers.config_sources import load_with_sources
        from llmos_workers.kernel import logs

        flags: dict[str, Any] = {"workspace": self.workspace, "redis.url": self.redis_url}
        loaded = load_with_sources(self.config_path, None, flags, self.preset)
        logs.write_as(loaded[0].logging.format)
        return loaded

    @property
    def config(self) -> LLMOSConfig:
        """All settings. Raises ConfigError."""
        return self._loaded[0]

    @property
    def sources(self) -> dict[str, str]:
        """Where each setting that is no default comes from."""
        return self._loaded[1]

    @cached_property
    def client(self) -> LLMOS:
        """The thin client; connects with its first call. Raises ConfigError."""
        workspace = self.config.workspace
        if workspace.exists() and not workspace.is_dir():
            raise ConfigError(
                f"the workspace {workspace} is no folder.",
                fix="Name one: --workspace, LLMOS_WORKSPACE, or workspace in llmos.toml.",
            )
        with lean_redis():
            from llmos_workers.client import LLMOS

        return LLMOS(self.config)

    @cached_property
    def registry(self) -> ToolRegistry:
        """All tools that agents of this workspace may be granted."""
        from llmos_cli.memory import memory_tools_of
        from llmos_workers.runtime_tools import make_registry, system_tools

        factory = self.client.agent_factory
        ours = system_tools(factory, factory.loader, lambda *_args, **_facts: None)
        more = [*ours, *memory_tools_of(self)]
        return make_registry(self.config, self.config.workspace, self.client.keys, more)

    def export(self) -> None:
        """Put the global options into the environment, for the program this process becomes."""
        config, workspace = self.config_path, self.workspace
        options = {
            "LLMOS_CONFIG": config and str(Path(config).absolute()),
            "LLMOS_WORKSPACE": workspace and str(Path(workspace).absolute()),
            "LLMOS_REDIS_URL": self.redis_url,
            "LLMOS_PRESET": self.preset,
        }
        _ = self.config  # what is wrong is said here, in words, and not by that program
        os.environ.update({name: value for name, value in options.items() if value})
