"""``workspace/mcp.json``: which MCP servers there are, and with what they are reached.

The form is that of other programs: ``{"mcpServers": {"NAME": {"command": ..., "args": [...],
"env": {...}} or {"url": ..., "headers": {...}}}}``; ``"projects": [...]`` limits one to some. The
file is part of a workspace and so of its backups and repositories: credentials stand in the
worker's environment, and the file names them, as ``${NAME}``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.kernel.redact import redact, shared

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CREDENTIALS = re.compile(r"authorization|cookie|token|key|secret", re.IGNORECASE)
"""Names of headers that carry credentials."""


class McpServer(Contract):
    """How a server is reached: a command, or the URL of its HTTP endpoint."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    """Of the command; ``${NAME}`` is taken from the worker's environment."""
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with each request to the URL; ``${NAME}`` as in ``env``."""
    projects: tuple[str, ...] | None = None
    """Projects whose goals may use it; None: all."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("needs either command or url")
        if (self.headers and not self.url) or (self.env and not self.command):
            raise ValueError("headers go with url, env with command")
        for name, value in (self.headers | self.env).items():
            bare = _VARIABLE.sub("", value)
            if redact(f"{name}: {bare}") != f"{name}: {bare}":
                raise ValueError(f"{name} holds a secret: name a variable, as in ${{NAME}}")
        credentials = [name for name in self.headers if _CREDENTIALS.search(name)]
        if credentials and not _private_line(self.url):
            raise ValueError(f"{credentials[0]} would go unencrypted: use https")
        return self


def read_servers(path: Path) -> dict[str, McpServer]:
    """The servers that a file names; none where there is no file. Raises ConfigError."""
    if not path.is_file():
        return {}
    try:
        given = json.loads(path.read_text(encoding="utf-8"))["mcpServers"]
        return {str(name): McpServer.model_validate(server) for name, server in given.items()}
    except ValidationError as error:
        # Not pydantic's own words: they repeat what was given.
        said = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path} cannot be read: {said}.") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


def filled(values: Mapping[str, str]) -> dict[str, str]:
    """The values with their variables filled in. What came from the environment is a secret from
    then on, whatever its name. Raises ToolError for a variable that is not set.
    """

    def fill(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise ToolError(
                f"the variable {match[1]} is not set.",
                fix="Set it in the environment of the llm and replay workers.",
            )
        shared().name({value: match[1]})
        return value

    return {name: _VARIABLE.sub(fill, value) for name, value in values.items()}


def _private_line(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
