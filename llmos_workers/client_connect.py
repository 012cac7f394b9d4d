"""Where Redis is, a client's connections to it, and how its failures are told to whoever submits
goals.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import redis

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.embedded import discovery
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import DEFAULT_URL, Client, connect, safe_url


@dataclass(frozen=True)
class RedisPlace:
    """The server a client talks to, and how it was found."""

    url: str
    """With user and password, without a database."""
    found: str
    """In words, for messages: which setting or file named it."""
    fix: str
    """What to do when it does not answer."""

    def __str__(self) -> str:
        return f"{safe_url(self.url)} ({self.found})"


def find_redis(config: LLMOSConfig) -> RedisPlace:
    """The configured server, else the embedded one of the workspace, else the default address."""
    if config.redis.url:
        return RedisPlace(
            config.redis.url,
            "from redis.url",
            "Start that server, or correct redis.url (LLMOS_REDIS_URL, --redis-url).",
        )
    if embedded := discovery.read(config.workspace):
        found = f"the embedded stack of the workspace {config.workspace}"
        return RedisPlace(embedded.redis_url, found, "Start it again: llmos up.")
    return RedisPlace(
        DEFAULT_URL,
        f"the default address: redis.url is not set, and no embedded stack of the workspace "
        f"{config.workspace} is up",
        "Start the embedded stack (llmos up), or name a server with LLMOS_REDIS_URL.",
    )


class Connection:
    """What all parts of a client work on. Nothing connects before it is used."""

    def __init__(self, config: LLMOSConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self._mine: list[Client] = []

    @cached_property
    def place(self) -> RedisPlace:
        """Which Redis this client talks to, and how it was found."""
        return find_redis(self.config)

    @cached_property
    def redis(self) -> Client:
        """Client of the state database."""
        return self._connect(self.config.redis.state_db)

    @cached_property
    def broker(self) -> Client:
        """Client of the broker database."""
        return self._connect(self.config.redis.broker_db)

    @cached_property
    def goals(self) -> GoalStore:
        """The goal records."""
        kept = self.config.kernel.result_retention_secs
        return GoalStore(self.redis, self.clock, retention_s=kept)

    def _connect(self, db: int) -> Client:
        client = connect(self.config.redis, db=db, url=self.place.url)
        self._mine.append(client)
        return client


@contextmanager
def talking(place: RedisPlace, what: str) -> Iterator[None]:
    """Word every failure of Redis while ``what`` as BrokerUnavailable that says what was tried."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise BrokerUnavailable(
            f"Redis at {place} refused the login while {what}.",
            fix="Check user and password in redis.url.",
        ) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise BrokerUnavailable(
            f"Redis at {place} does not answer while {what}.", fix=place.fix
        ) from error
    except redis.RedisError as error:
        raise BrokerUnavailable(
            f"Redis at {place} refused a command while {what}: {error}.", fix=_advice(str(error))
        ) from error


def _advice(refusal: str) -> str:
    """What helps against a refusal that Redis words with a leading code."""
    advice = {
        "NOPERM": "Give the user of redis.url plain commands on the keys llmos:* and the queues.",
        "SCRIPTS": "Use a Redis user that may run scripts (EVALSHA, SCRIPT LOAD), as workers and "
        "those who answer approvals do: a producer's may not.",
        "NOAUTH": "Put user and password into redis.url.",
        "OOM": "Give Redis more memory; llmos doctor checks its settings.",
        "MISCONF": "Redis cannot write its disk: free space there.",
        "READONLY": "redis.url names a replica; name the primary.",
        "LOADING": "Redis is still reading its data; try again in a moment.",
    }
    lowered = refusal.lower()
    if "no permissions" in lowered:
        return advice["SCRIPTS" if "'eval" in lowered or "'script" in lowered else "NOPERM"]
    return next((fix for code, fix in advice.items() if refusal.startswith(code)), "")
