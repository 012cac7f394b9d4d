"""Connections to Redis: one way to make them, one way their failures are worded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from llmos_workers.config import RedisConfig
from llmos_workers.contracts.errors import BrokerUnavailable, ConfigError

Client = redis.Redis
"""Binary-safe client (no decode_responses)."""

DEFAULT_URL = "redis://127.0.0.1:6379"


def database_url(base: str, db: int) -> str:
    """``base`` with the database number as its path. Raises ConfigError for what is no such URL."""
    parts = urlsplit(base)
    try:
        valid = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        valid = False
    if not valid:
        raise ConfigError(
            "redis.url must look like redis://[user:password@]host:port.",
            fix="Use redis:// or, with TLS, rediss://.",
        )
    return urlunsplit((parts.scheme, parts.netloc, f"/{db}", parts.query, ""))


MAX_BLOCK_MS = 2_000
"""Longest that one read waits on purpose, in milliseconds: less than any silence that counts as a
loss (``redis.silence_secs``).
"""

KEEPALIVE_PROBES = 3


def keepalive(silence_s: int) -> dict[int, int]:
    """Options of a TCP socket that fails once its other end was silent for some ``silence_s``
    seconds: idle ones by the kernel's probes, and ones whose data nobody acknowledges. What the
    platform does not know is left out.
    """
    probe_every = max(1, silence_s // (2 * KEEPALIVE_PROBES))
    wanted = {
        "TCP_KEEPIDLE": max(1, silence_s - KEEPALIVE_PROBES * probe_every),
        "TCP_KEEPINTVL": probe_every,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        # Linux resends what nobody acknowledges for 15 minutes; its probes wait behind that.
        "TCP_USER_TIMEOUT": silence_s * 1000,
    }
    return {getattr(socket, k): v for k, v in wanted.items() if hasattr(socket, k)}


def connect(
    config: RedisConfig,
    *,
    db: int | None = None,
    url: str | None = None,
    timeout_s: float | None = None,
) -> Client:
    """A client for the state database (or ``db``). Connects at its first command.

    ``timeout_s``: longest wait for a connection or an answer in seconds, for callers that must
    not hang; by default ``config.silence_secs`` for an answer. A read that waits on purpose has to
    wait for less.
    """
    target = database_url(url or config.url or DEFAULT_URL, config.state_db if db is None else db)
    answer_s, connect_s = float(config.silence_secs), config.connect_timeout_secs
    if timeout_s is not None:
        answer_s, connect_s = timeout_s, min(timeout_s, connect_s)
    return redis.Redis.from_url(
        target,
        socket_timeout=answer_s,
        socket_connect_timeout=connect_s,
        socket_keepalive=True,
        socket_keepalive_options=keepalive(config.silence_secs),
        health_check_interval=config.silence_secs,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 3),
    )


def safe_url(url: str) -> str:
    """The URL without its password, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path}"


@contextmanager
def broker_errors(what: str, url: str = "") -> Iterator[None]:
    """Turn lost connections into BrokerUnavailable that says what was being done."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise BrokerUnavailable(
            f"Redis refused the login while {what}.", fix="Check user and password in redis.url."
        ) from error
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError) as error:
        where = f" at {safe_url(url)}" if url else ""
        raise BrokerUnavailable(
            f"Redis{where} does not answer while {what}.",
            fix="Start it (llmos up starts an embedded one), or set LLMOS_REDIS_URL.",
        ) from error
