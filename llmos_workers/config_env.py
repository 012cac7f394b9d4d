"""Settings from environment variables: ``LLMOS_<GROUP>__<FIELD>`` and a few short names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from llmos_workers.config import merge
from llmos_workers.config_keys import (
    ENV_PREFIX,
    ENV_SEPARATOR,
    FALLBACK_VARIABLES,
    OTHER_VARIABLES,
    SHORT_VARIABLES,
    all_keys,
    is_list,
    near_miss,
    variable_of,
)
from llmos_workers.contracts.errors import ConfigError


def read_environment(env: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """(nested settings, key -> variable) of all ``LLMOS_*`` variables. An empty one is not set.

    A variable with a group wins over the short name of the same key. Raises ConfigError for
    one that looks like a setting and is none.
    """
    variables = {variable_of(key): key for key in all_keys() if "." in key}
    found = {name: key for name, key in SHORT_VARIABLES.items() if env.get(name)}
    for name in sorted(env):
        if name in variables and env[name]:
            found[name] = variables[name]
        elif name.startswith(ENV_PREFIX) and name not in variables:
            _check_unknown(name, variables)
    return _nest(found, env), {key: f"variable {name}" for name, key in found.items()}


def read_fallbacks(env: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """(nested settings, key -> variable) of the ``ANTHROPIC_*`` variables that are set."""
    found = {name: key for name, key in FALLBACK_VARIABLES.items() if env.get(name)}
    return _nest(found, env), {key: f"variable {name}" for name, key in found.items()}


def _nest(found: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, key in found.items():
        value: Any = env[name]
        if is_list(key):
            value = [part.strip() for part in value.split(",") if part.strip()]
        group, _, field = key.partition(".")
        data = merge(data, {group: {field: value}} if field else {group: value})
    return data


def _check_unknown(name: str, variables: Mapping[str, str]) -> None:
    """Refuse a variable that is meant as a setting: it has a group, or misses by a letter."""
    if name in SHORT_VARIABLES or name in OTHER_VARIABLES or name.startswith("LLMOS_TEST_"):
        return
    grouped = ENV_SEPARATOR in name.removeprefix(ENV_PREFIX)
    known = [*variables, *SHORT_VARIABLES, *OTHER_VARIABLES]
    if grouped or difflib.get_close_matches(name, known, n=1, cutoff=0.9):
        raise ConfigError(
            f"variable {name} is not a known setting.{near_miss(name, known)}",
            fix="docs/configuration.md lists all of them.",
        )
