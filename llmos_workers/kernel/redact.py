"""Secrets out of text: before it reaches a model, a log, an event, a trace or Flower.

Values that this process knows (its environment's, its settings') by value, all others as
kernel.secrets finds them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from llmos_workers.kernel.secrets import (
    MIN_SECRET_CHARS,
    either,
    find_secrets,
    reference,
    replace,
)

MARK = "[redacted]"
"""In the place of a value that has no name."""

_NAMED_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = re.compile(r"_(?:FILE|PATH|DIR|URL|ID)$", re.IGNORECASE)


class Redactor:
    """Replaces known secret values, and strings that look like secrets, by references."""

    def __init__(self, secrets: Iterable[str] | Mapping[str, str] = ()) -> None:
        """``secrets``: values, or values with their names."""
        self._held: tuple[dict[str, str], re.Pattern[str] | None] = ({}, None)
        """What comes in place of each value, and what finds them: replaced together."""
        self.name(secrets if isinstance(secrets, Mapping) else dict.fromkeys(secrets, ""))

    def add(self, *secrets: str) -> None:
        """Remember values that must not appear; short ones are ignored."""
        self.name(dict.fromkeys(secrets, ""))

    def name(self, secrets: Mapping[str, str]) -> None:
        """The same, with the names that come in their place."""
        held, _ = self._held
        fresh = {
            value: reference(name) if name else MARK
            for value, name in secrets.items()
            if len(value) >= MIN_SECRET_CHARS and value not in held
        }
        if fresh:
            self._held = (held | fresh, either(held | fresh))

    def known(self, text: str) -> str:
        """``text`` without the secrets known by value, whatever else looks like one."""
        instead, values = self._held
        return text if values is None else values.sub(lambda match: instead[match[0]], text)

    def redact(self, text: str, *, config: bool = False) -> str:
        """``text`` without the secrets. ``config`` as in ``find_secrets``."""
        text = self.known(text)
        return replace(text, find_secrets(text, config=config))


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """Values of the variables whose names say that they are secret."""
    return list(named_secrets(environ))


def named_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The same, each with the name of its variable."""
    return {
        value: name
        for name, value in environ.items()
        if _NAMED_SECRET.search(name) and not _NOT_SECRET.search(name)
    }


_shared: list[Redactor] = []


def shared() -> Redactor:
    """This process's redactor: it knows the environment's secrets and those added since."""
    if not _shared:
        _shared.append(Redactor(named_secrets(os.environ)))
    return _shared[0]


def redact(text: str) -> str:
    """``text`` without the secrets this process knows."""
    return shared().redact(text)
