"""A whole system on one machine: the embedded stack, and a model to talk to.

``llmos up``, the demo, the benchmarks and users' tests start it through here, so that the
choice of the model is made once: a key or a ``base_url`` is used as configured; with neither,
the scripted rehearsal model is started beside the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.stack import EmbeddedStack
from llmos_workers.evolution.seed import install_seed_agents
from llmos_workers.worker import ROLES

if TYPE_CHECKING:
    from llmos_workers.rehearsal.server import RehearsalServer

REHEARSAL_KEY = "no-key-is-needed-for-the-rehearsal-model"
"""The SDK insists on some key; the rehearsal server takes any."""


def has_model(config: LLMOSConfig) -> bool:
    """Whether a real model is configured."""
    return config.sdk.api_key is not None or config.sdk.base_url is not None


class LocalSystem:
    """Context manager: everything is up inside the block, and nothing is left after it.

    ``rehearsal`` is the scripted model's server, or None when a real model is configured.
    """

    def __init__(
        self,
        config: LLMOSConfig,
        *,
        roles: Iterable[str] | Mapping[str, int | None] = tuple(ROLES),
        env: Mapping[str, str] | None = None,
        rehearsal_log: Path | None = None,
        rehearsal_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._given = config
        self._roles, self._env = roles, env
        self._rehearsal_log = rehearsal_log
        self._rehearsal_options = dict(rehearsal_options or {})
        self._parts = ExitStack()
        self.rehearsal: RehearsalServer | None = None
        self._stack: EmbeddedStack | None = None

    @property
    def stack(self) -> EmbeddedStack:
        """The running stack. Raises RuntimeError outside the block."""
        if self._stack is None:
            raise RuntimeError("the system is not up")
        return self._stack

    @property
    def config(self) -> LLMOSConfig:
        """The configuration with the addresses of what was started."""
        return self.stack.config

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            config = self._given
            install_seed_agents(config.workspace)
            if not has_model(config):
                config = self._with_rehearsal(parts)
            self._stack = parts.enter_context(
                EmbeddedStack(
                    config,
                    roles=self._roles,
                    env=self._env,
                    model_url=self.rehearsal.url if self.rehearsal else None,
                )
            )
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()
        self._stack = self.rehearsal = None

    def _with_rehearsal(self, parts: ExitStack) -> LLMOSConfig:
        from llmos_workers.rehearsal.server import RehearsalServer

        server = RehearsalServer(log_path=self._rehearsal_log, **self._rehearsal_options)
        self.rehearsal = parts.enter_context(server)
        sdk = self._given.sdk.model_copy(
            update={"base_url": self.rehearsal.url, "api_key": SecretStr(REHEARSAL_KEY)}
        )
        judge = self._given.judge
        if judge.model is None:  # as it would be at Anthropic
            judge = judge.model_copy(update={"model": "haiku"})
        return self._given.model_copy(update={"sdk": sdk, "judge": judge})
