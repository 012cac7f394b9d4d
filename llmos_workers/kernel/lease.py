"""A run's right to write for a goal, and the thread that keeps it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol, Self

import redis

from llmos_workers.contracts.errors import GoalStateError, LeaseLost
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.logs import carried

logger = logging.getLogger(__name__)

RENEWALS_PER_TTL = 3


@dataclass(frozen=True)
class Lease:
    """The right of one run to write for one goal, proved by its fencing token."""

    goal_id: str
    owner: str
    fence: int
    until: float
    """Unix seconds of the server's clock."""


class Renewer(Protocol):
    """What a keeper needs of the goal store."""

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Make the lease last ``ttl_s`` seconds from now, or raise LeaseLost."""
        ...


class LeaseKeeper:
    """Renews a lease every third of its time, from a daemon thread, while the block runs.

    The lease counts as lost once the server says so, or once its time has passed on this
    machine's steady clock without a renewal (server away, process stopped and woken): a run
    asks ``check`` before each step. Leaving the block ends the thread; the lease itself is
    given back by ``finish``, ``release`` or ``transition``.
    """

    def __init__(
        self, store: Renewer, lease: Lease, *, ttl_s: float, clock: Clock | None = None
    ) -> None:
        self._store, self._ttl = store, ttl_s
        self._clock = clock or SystemClock()
        self._lease = lease
        self._deadline = self._clock.steady() + ttl_s
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=carried(self._run), name=f"lease-{lease.goal_id[:8]}", daemon=True
        )

    @property
    def lease(self) -> Lease:
        """The lease as last renewed."""
        return self._lease

    @property
    def lost(self) -> bool:
        """Whether this run may write nothing more. Once it was said, it stays: a renewal that
        comes late must not wake a run that was told to stop.
        """
        self._lost = self._lost or self._clock.steady() >= self._deadline
        return self._lost

    def check(self) -> None:
        """Raise LeaseLost when the lease is lost."""
        if self.lost:
            raise LeaseLost(f"the run of goal {self._lease.goal_id} lost its lease.")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=self._ttl)

    def _run(self) -> None:
        while not self._stop.wait(self._ttl / RENEWALS_PER_TTL):
            if not self._renew():
                return

    def _renew(self) -> bool:
        asked = self._clock.steady()
        try:
            self._lease = self._store.renew(self._lease, ttl_s=self._ttl)
        except GoalStateError as error:
            if not self._stop.is_set():
                logger.info("lease of goal %s is gone: %s", self._lease.goal_id, error)
            self._lost = True
            return False
        except redis.RedisError as error:
            logger.warning("cannot renew the lease of goal %s: %s", self._lease.goal_id, error)
            return not self.lost
        self._deadline = asked + self._ttl
        return not self._lost
