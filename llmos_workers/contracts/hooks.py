"""Hooks as settings name them, and when they are asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from llmos_workers.contracts.base import Contract

HOOK_TIMEOUT_S = 10.0
"""How long a hook may think about one event, unless its setting says otherwise."""


class HookKind(StrEnum):
    """When a hook is asked."""

    PRE_TOOL_USE = "PreToolUse"
    POST_TOOL_USE = "PostToolUse"
    ON_ERROR = "OnError"
    USER_PROMPT_SUBMIT = "UserPromptSubmit"


class HookSetting(Contract):
    """A hook of the user's. A plain string stands for one with nothing but ``use``."""

    use: str = Field(min_length=1)
    """``package.module:Class``, the name of an entry point of the group ``llmos.hooks``, or the
    path of an executable (with a slash)."""
    events: tuple[HookKind, ...] = ()
    """What it is asked about; empty: a Python hook whatever its class handles, an executable
    everything."""
    timeout_secs: float = Field(default=HOOK_TIMEOUT_S, gt=0, le=300)
    advises: bool = False
    """What it tells a model is how to work, not what to do: traces do not depend on it."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"use": data}
        return data
