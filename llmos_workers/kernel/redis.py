"""Connections to Redis: one way to make them, one way their failures are worded."""

from __future__ import annotations

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
    """``base`` with the database number as its path. Raises ConfigError for other schemes."""
    parts = urlsplit(base)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ConfigError(
            "redis.url must look like redis://[user:password@]host:port.",
            fix="Use redis:// or, with TLS, rediss://.",
        )
    return urlunsplit((parts.scheme, parts.netloc, f"/{db}", parts.query, ""))


def connect(
    config: RedisConfig,
    *,
    db: int | None = None,
    url: str | None = None,
    timeout_s: float | None = None,
) -> Client:
    """A client for the state database (or ``db``). Connects at its first command.

    ``timeout_s``: longest wait for an answer in seconds, for callers that must not hang.
    """
    target = database_url(url or config.url or DEFAULT_URL, config.state_db if db is None else db)
    return redis.Redis.from_url(
        target,
        socket_timeout=timeout_s,
        socket_connect_timeout=config.connect_timeout_secs,
        socket_keepalive=True,
        health_check_interval=25,
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
