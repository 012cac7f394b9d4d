"""Settings built step by step in code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from llmos_workers.config import PRESETS, LLMOSConfig, SandboxDemand, merge
from llmos_workers.contracts.errors import ConfigError


class ConfigBuilder:
    """Collects settings over a preset; ``build`` checks them all at once.

    Every ``with_*`` returns the builder itself; a later call wins over an earlier one.
    """

    def __init__(self, preset: str = "default") -> None:
        """Start from a preset. Raises ConfigError for an unknown one."""
        if preset not in PRESETS:
            raise ConfigError(f"unknown preset {preset!r}.", fix=f"Known: {', '.join(PRESETS)}.")
        self._data: dict[str, Any] = dict(PRESETS[preset])

    def build(self) -> LLMOSConfig:
        """The checked settings. Raises ConfigError naming each wrong key."""
        return LLMOSConfig.from_dict(self._data)

    def with_settings(self, group: str, **fields: Any) -> Self:
        """Set any fields of one group, e.g. ``with_settings("sdk", max_turns=20)``."""
        self._data = merge(self._data, {group: fields})
        return self

    def with_workspace(self, path: str | Path) -> Self:
        """Folder of agents, memories and projects."""
        self._data = merge(self._data, {"workspace": Path(path)})
        return self

    def with_project(self, name: str) -> Self:
        """Project of goals that name none."""
        self._data = merge(self._data, {"project_name": name})
        return self

    def with_budget(self, usd: float) -> Self:
        """Limit of all spending together, in dollars."""
        return self.with_settings("kernel", budget_usd=usd)

    def with_model(self, model: str) -> Self:
        """Model id or alias of agents that name none."""
        return self.with_settings("sdk", model=model)

    def with_base_url(self, url: str) -> Self:
        """Another endpoint that speaks the Messages API."""
        return self.with_settings("sdk", base_url=url)

    def with_api_key(self, key: str) -> Self:
        """Key of the endpoint."""
        return self.with_settings("sdk", api_key=SecretStr(key))

    def with_streaming(self, enabled: bool) -> Self:
        """Whether model responses are streamed."""
        return self.with_settings("sdk", enable_streaming=enabled)

    def with_llm_matching(self, enabled: bool) -> Self:
        """Whether a model may judge what structure cannot decide."""
        return self.with_settings("memory", enable_llm_matching=enabled)

    def with_cross_project_learning(self, enabled: bool) -> Self:
        """Whether a project may learn from the traces of others."""
        return self.with_settings("memory", enable_cross_project_learning=enabled)

    def with_strategy(self, name: str) -> Self:
        """How the mode of a goal is chosen (learning.strategies.STRATEGIES)."""
        return self.with_settings("dispatcher", strategy=name)

    def with_auto_crystallization(self, enabled: bool) -> Self:
        """Whether proved traces are compiled without being asked."""
        return self.with_settings("dispatcher", auto_crystallization=enabled)

    def with_sentience(self, enabled: bool) -> Self:
        """Whether internal state is kept and heeded."""
        return self.with_settings("sentience", enable_sentience=enabled)

    def with_auto_improvement(self, enabled: bool) -> Self:
        """Whether improvements are looked for."""
        return self.with_settings("sentience", enable_auto_improvement=enabled)

    def with_sandbox(self, demand: str | SandboxDemand) -> Self:
        """``require`` or ``prefer``."""
        return self.with_settings("security", sandbox=demand)

    def with_hooks(self, *hooks: str) -> Self:
        """User hooks, as import paths or executables."""
        return self.with_settings("security", hooks=hooks)

    def with_redis(self, url: str) -> Self:
        """Server of broker, results and state, without a database number."""
        return self.with_settings("redis", url=url)

    def with_qdrant(self, url: str, api_key: str | None = None) -> Self:
        """Qdrant server that holds the index."""
        key = SecretStr(api_key) if api_key else None
        return self.with_settings("index", qdrant_url=url, qdrant_api_key=key)

    def with_embeddings(self, url: str, model: str | None = None) -> Self:
        """Endpoint that makes the embeddings."""
        named = {"embeddings_model": model} if model else {}
        return self.with_settings("index", embeddings_url=url, **named)
