"""The names of all settings, as dotted keys and as environment variables."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from functools import cache
from typing import Any, Union, get_args, get_origin

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.base import Contract

ENV_PREFIX = "LLMOS_"
ENV_SEPARATOR = "__"

SHORT_VARIABLES: dict[str, str] = {
    "LLMOS_BUDGET_USD": "kernel.budget_usd",
    "LLMOS_MODEL": "sdk.model",
    "LLMOS_BASE_URL": "sdk.base_url",
    "LLMOS_WORKSPACE": "workspace",
    "LLMOS_PROJECT_NAME": "project_name",
    "LLMOS_REDIS_URL": "redis.url",
    "LLMOS_LOG_LEVEL": "logging.level",
}
"""Variables without a group, and the key each one sets."""

FALLBACK_VARIABLES: dict[str, str] = {
    "ANTHROPIC_API_KEY": "sdk.api_key",
    "ANTHROPIC_BASE_URL": "sdk.base_url",
}
"""Variables of the official SDK, used where nothing of ours says otherwise."""

OTHER_VARIABLES: dict[str, str] = {
    "LLMOS_CONFIG": "path of the settings file",
    "LLMOS_PRESET": "name of a preset",
    "LLMOS_HEARTBEAT_FILE": "file that a worker touches while it lives",
    "LLMOS_SERVER": "server program of the embedded stack, instead of the bundled valkey-server",
    "LLMOS_ROLE": "role of this worker process, set by llmos itself",
    "LLMOS_DRAIN_SECS": "seconds a prefork worker lets running tasks finish after SIGTERM",
    "LLMOS_TASK_MODULES": "modules of tasks that workers import, instead of llmos_workers.tasks",
}
"""Variables that are no settings. Names that start with LLMOS_TEST_ belong to the tests."""

WITHOUT_EFFECT: dict[str, str] = {
    "sdk.permission_mode": "rules and hooks say what a person is asked",
}
"""Settings of the upstream that are accepted and kept, and change nothing here, with the reason."""


@cache
def all_keys() -> dict[str, Any]:
    """Dotted key -> annotation of every setting."""
    keys: dict[str, Any] = {}
    for name, field in LLMOSConfig.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Contract):
            keys |= {f"{name}.{sub}": f.annotation for sub, f in inner.model_fields.items()}
        else:
            keys[name] = inner
    return keys


def variable_of(key: str) -> str:
    """The environment variable of a dotted key: ``sdk.model`` is ``LLMOS_SDK__MODEL``."""
    short = {target: name for name, target in SHORT_VARIABLES.items()}
    group, _, field = key.partition(".")
    long = f"{ENV_PREFIX}{group.upper()}{ENV_SEPARATOR}{field.upper()}"
    return long if field else short.get(key, f"{ENV_PREFIX}{key.upper()}")


def is_list(key: str) -> bool:
    """Whether the setting is a list, written with commas in a variable."""
    annotation = all_keys()[key]
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    return any(get_origin(kind) is tuple for kind in (annotation, *members))


def near_miss(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
