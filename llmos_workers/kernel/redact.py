"""Secrets out of text: before it reaches a model, a log, an event, a trace or Flower."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

MARK = "[redacted]"
MIN_SECRET_CHARS = 8
"""Shorter values are words of everyday text; removing them would only garble."""

_NAMED_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = re.compile(r"_(?:FILE|PATH|DIR|URL|ID)$", re.IGNORECASE)
_PATTERNS = (
    (re.compile(r"sk-ant-[A-Za-z0-9_\-]{8,}"), MARK),
    # scheme://user:password@host keeps scheme, user and host.
    (re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/:@]*:)[^\s/@]+(@)"), rf"\1{MARK}\2"),
)


class Redactor:
    """Replaces known secret values and strings that look like secrets by ``[redacted]``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._values: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Remember values that must not appear; short ones are ignored."""
        fresh = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS} - self._secrets
        if not fresh:
            return
        self._secrets |= fresh
        # Longest first: one secret may begin with another.
        parts = sorted(map(re.escape, self._secrets), key=len, reverse=True)
        self._values = re.compile("|".join(parts))

    def known(self, text: str) -> str:
        """``text`` without the secrets known by value, whatever else looks like one."""
        return text if self._values is None else self._values.sub(MARK, text)

    def redact(self, text: str) -> str:
        """``text`` without the secrets."""
        text = self.known(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


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
        _shared.append(Redactor(secrets_of(os.environ)))
    return _shared[0]


def redact(text: str) -> str:
    """``text`` without the secrets this process knows."""
    return shared().redact(text)
