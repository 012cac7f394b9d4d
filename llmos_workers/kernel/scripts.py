"""Lua scripts of the kernel: read once, sent by digest, loaded when the server forgot them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int | float


@dataclass(frozen=True)
class Script:
    """A Lua script and the digest by which the server knows it."""

    name: str
    text: str
    sha: str

    def run(self, client: redis.Redis, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run with EVALSHA; a server that does not know the script is given it first.

        Needs the rights EVALSHA and SCRIPT LOAD. redis-py repeats a command whose answer was
        lost with the connection, so every script has to bear being run twice.
        """
        try:
            return client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            client.script_load(self.text)
            return client.evalsha(self.sha, len(keys), *keys, *args)


@cache
def load(name: str, *, include: tuple[str, ...] = ()) -> Script:
    """The script ``lua/<name>.lua``, with the named files of shared functions before it."""
    folder = resources.files("llmos_workers.kernel") / "lua"
    parts = [(folder / f"{part}.lua").read_text("utf-8") for part in (*include, name)]
    text = "\n".join(parts)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
