"""Where settings come from, and which of them wins.

Lowest first: defaults, preset, ``ANTHROPIC_*`` fallbacks, file, ``LLMOS_*`` variables, flags.
Every layer is plain nested data; the origin of each key is kept beside it, so that an error
and ``llmos config show`` can name the file or variable. docs/configuration.md says the rest.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from llmos_workers.config import (
    LONG_GROUP_NAMES,
    PRESETS,
    SHORT_NAMES,
    LLMOSConfig,
    describe_validation,
    expand_short_names,
    merge,
)
from llmos_workers.config_builder import ConfigBuilder
from llmos_workers.config_env import read_environment, read_fallbacks
from llmos_workers.config_keys import WITHOUT_EFFECT, all_keys, near_miss
from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.errors import ConfigError

__all__ = [
    "ConfigBuilder",
    "describe_config",
    "dump_config",
    "load_config",
    "load_with_sources",
]

DEFAULT_FILE = "llmos.toml"
"""Read from the working directory when neither a path nor LLMOS_CONFIG names another."""

MASK = "********"


def load_config(
    path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> LLMOSConfig:
    """All settings, from every source in order of precedence.

    ``path`` beats LLMOS_CONFIG beats ``./llmos.toml``; ``env`` defaults to the process's own
    (``{}`` to read none); ``overrides`` are flags: nested data, short names or dotted keys, and
    a value of None means the flag was not given. ``preset`` beats LLMOS_PRESET beats the file's
    own ``preset`` key. Raises ConfigError that names file or variable, key and what is right.
    """
    return load_with_sources(path, env, overrides, preset)[0]


def load_with_sources(
    path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    preset: str | None = None,
) -> tuple[LLMOSConfig, dict[str, str]]:
    """As load_config, with the source of every key that is not a default, for describe_config."""
    env = os.environ if env is None else env
    file = _find_file(path, env)
    from_file = read_file(file) if file else {}
    preset = preset or env.get("LLMOS_PRESET") or from_file.get("preset")
    from_file.pop("preset", None)
    from_env, named = read_environment(env)
    layers: list[tuple[dict[str, Any], str]] = [
        (_preset(preset), f"preset {preset}"),
        (from_file, f"file {file}"),
        (from_env, "environment"),
        (_flags(overrides or {}), "flag"),
    ]
    data, fallback_names = read_fallbacks(env)
    sources = dict(fallback_names)
    for layer, origin in layers:
        data = merge(data, layer)
        sources |= dict.fromkeys(_leaves(expand_short_names(layer)), origin)
        if origin == "environment":
            sources |= named
    try:
        return LLMOSConfig.model_validate(data), sources
    except ValidationError as error:
        raise ConfigError(_explain(error, sources)) from None


def read_file(path: Path) -> dict[str, Any]:
    """A settings file as nested data: TOML, or YAML or JSON by its extension.

    A relative ``workspace`` counts from the file's own folder. Raises ConfigError.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = _parse(path.suffix.lower(), text)
    except OSError as error:
        raise ConfigError(
            f"settings file {path} cannot be read: {error.strerror}.",
            fix="Name another one: --config, or LLMOS_CONFIG.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"settings file {path}: {error}") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"settings file {path}: must be a table of groups.")
    for key in ("workspace", "workspace_path"):
        if isinstance(data.get(key), str):
            data[key] = str(path.absolute().parent / Path(data[key]).expanduser())
    return data


def describe_config(
    config: LLMOSConfig, sources: Mapping[str, str] | None = None
) -> list[tuple[str, str, str]]:
    """(key, value, source) of every setting, secrets masked, in the models' order.

    A setting that changes nothing says so. Without ``sources`` (see load_with_sources) a
    key is just ``default`` or ``set``.
    """
    rows = []
    defaults = dict(_settings(LLMOSConfig()))
    for key, value in _settings(config):
        changed = "set" if value != defaults[key] else "default"
        origin = changed if sources is None else sources.get(key, changed)
        if key in WITHOUT_EFFECT and origin != "default":
            origin = f"{origin}; without effect: {WITHOUT_EFFECT[key]}"
        rows.append((key, _shown(value), origin))
    return rows


def dump_config(config: LLMOSConfig) -> str:
    """JSON that load_config reads back to the same settings, **secrets included**.

    Only for a file of mode 0600 that a child process of ours reads. The workspace is written
    absolute, since the file lies elsewhere.
    """
    data = _plain(config)
    data["workspace"] = str(config.workspace.absolute())
    return json.dumps(data, indent=1, sort_keys=True)


def _parse(suffix: str, text: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    if suffix in (".yaml", ".yml"):
        import yaml

        try:
            return yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            # The library's own words quote the line, which may hold a secret.
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark else ""
            raise ValueError(f"{where}{getattr(error, 'problem', '') or 'not YAML'}") from None
    return tomllib.loads(text)


def _find_file(path: str | Path | None, env: Mapping[str, str]) -> Path | None:
    if path is not None:
        return Path(path)
    if named := env.get("LLMOS_CONFIG"):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def _preset(name: object) -> dict[str, Any]:
    if name is None:
        return {}
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(
            f"unknown preset {name!r}.{near_miss(str(name), PRESETS)}",
            fix=f"Known: {', '.join(PRESETS)}.",
        )
    return PRESETS[name]


def _flags(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Flags as nested data; ``sdk.model`` is a dotted key, None was not given."""
    data: dict[str, Any] = {}
    for name, value in overrides.items():
        given = _flags(value) if isinstance(value, Mapping) else value
        if given is None:
            continue
        group, _, field = name.partition(".")
        data = merge(data, {group: {field: given}} if field else {name: given})
    return data


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _settings(model: Contract, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Contract):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{MASK}@{rest.rpartition('@')[2]}"
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Contract):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _names() -> list[str]:
    groups = [name for name in LLMOSConfig.model_fields if name not in all_keys()]
    return [*all_keys(), *groups, *SHORT_NAMES, *LONG_GROUP_NAMES]


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        parts = [str(part) for part in item["loc"]]
        where = ".".join(parts)
        origin = next(
            (
                sources[key]
                for n in range(len(parts), 0, -1)
                if (key := ".".join(parts[:n])) in sources
            ),
            next((source for key, source in sources.items() if key.startswith(f"{where}.")), ""),
        )
        if item["type"] == "extra_forbidden":
            text = f"{where} is not a known key.{near_miss(where, _names())}"
        else:
            text = f"{where}: {item['msg']}."
        lines.append(f"{origin}: {text}" if origin else text)
    return " ".join(dict.fromkeys(lines)) or describe_validation(error)
