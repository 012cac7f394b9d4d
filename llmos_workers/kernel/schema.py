"""The schema of what stands in Redis: its number, and how an older one becomes this one.

``keys.SCHEMA`` holds ``version``, and ``reads``: the lowest release schema that can still work on
the data. A worker brings the data up to its own schema when it starts, step by step under a lock,
as long as the workers that live can read what a step leaves; it does not start on data that it
cannot read. Each step may run twice or be broken off: it leaves what it has already changed alone.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from llmos_workers.contracts.errors import IncompatibleSchema
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import Clock, SystemClock, iso
from llmos_workers.kernel.workers import live_workers

log = logging.getLogger(__name__)

SCHEMA = 2
"""The schema that this release writes. 0 is what was there before there was a number."""

RESTORING = "restoring"
"""Field of ``keys.SCHEMA`` while a backup is being restored."""

LOCK_SECS = 600
WAIT_SECS = 900.0
"""Longest wait for somebody else's migration."""

POLL_SECS = 0.2


@dataclass(frozen=True)
class Step:
    """From the schema before ``to`` to it."""

    to: int
    what: str
    """What it does, for people."""
    run: Callable[[], int]
    """Does it, and says how many things it changed. Idempotent."""
    reads: int = 0
    """The lowest release schema that can work on the data afterwards."""


@dataclass(frozen=True)
class SchemaState:
    """What Redis says of itself."""

    version: int
    reads: int


@dataclass(frozen=True)
class Done:
    """A step that was run."""

    step: Step
    changed: int


class Schema:
    """Checks and migrates one state database. Methods raise redis errors as they come."""

    def __init__(
        self,
        client: redis.Redis,
        steps: Sequence[Step],
        *,
        own: int = SCHEMA,
        clock: Clock | None = None,
    ) -> None:
        """``own``: the schema of this release; ``steps`` lead to it, in order."""
        self._redis, self._steps, self.own = client, steps, own
        self._clock = clock or SystemClock()

    def state(self) -> SchemaState:
        """The schema of the data."""
        found = cast("list[bytes | None]", self._redis.hmget(keys.SCHEMA, ["version", "reads"]))
        version, reads = (int(value or 0) for value in found)
        return SchemaState(version, reads)

    def pending(self) -> list[Step]:
        """Steps that the data still needs."""
        version = self.state().version
        return [step for step in self._steps if step.to > version]

    def check(self) -> SchemaState:
        """Raise IncompatibleSchema for data that this release cannot work on."""
        if self._redis.hexists(keys.SCHEMA, RESTORING):
            raise IncompatibleSchema(
                "a backup is being restored here, or that was broken off.",
                fix="Wait for it; if it does not run, run llmos restore --force again.",
            )
        found = self.state()
        if found.version > self.own and found.reads > self.own:
            raise IncompatibleSchema(
                f"the data in Redis has schema {found.version}, which this release "
                f"(schema {self.own}) cannot read.",
                fix="Upgrade this llmos, or restore a backup of its own release.",
            )
        return found

    def migrate(self) -> list[Done]:
        """Bring the data to this release's schema: the steps that were run, none when it was.

        Waits for another process that does the same. Raises IncompatibleSchema, also while live
        workers could not read what a step leaves; then nothing has changed.
        """
        self.check()
        if not self.pending():
            return []
        token, deadline = uuid.uuid4().hex, time.monotonic() + WAIT_SECS
        while not self._redis.set(keys.SCHEMA_LOCK, token, nx=True, ex=LOCK_SECS):
            if not self.pending():
                return []
            if time.monotonic() > deadline:
                raise IncompatibleSchema(
                    "another process has been migrating the data for long.",
                    fix="See its log; if it died, wait some minutes for its lock to expire.",
                )
            time.sleep(POLL_SECS)
        try:
            return self._run(self.pending(), token)
        finally:
            self._unlock(token)

    def _run(self, steps: Sequence[Step], token: str) -> list[Done]:
        self._allowed(max((step.reads for step in steps), default=0))
        done = []
        for step in steps:
            changed = step.run()
            # Who lost the lock meanwhile has done no harm, but no longer says how far it is.
            if self._redis.get(keys.SCHEMA_LOCK) != token.encode():
                raise IncompatibleSchema(
                    f"step {step.to} took longer than the lock holds.", fix="Run it again."
                )
            self._redis.expire(keys.SCHEMA_LOCK, LOCK_SECS)
            reads = max(step.reads, self.state().reads)
            facts = {"version": step.to, "reads": reads, "at": iso(self._clock.now())}
            self._redis.hset(keys.SCHEMA, mapping=cast("dict[Any, Any]", facts))
            log.info("schema %d: %s (%d changed)", step.to, step.what, changed)
            done.append(Done(step, changed))
        return done

    def _allowed(self, reads: int) -> None:
        """Raise IncompatibleSchema while workers live that could not read the result."""
        live = live_workers(self._redis)
        old = sorted(str(w["worker"]) for w in live if int(w.get("schema", 0)) < reads)
        if old:
            raise IncompatibleSchema(
                f"workers of an older release run, and could not read migrated data: "
                f"{', '.join(old)}.",
                fix="Stop them, then start this one, or run: llmos migrate",
            )

    def _unlock(self, token: str) -> None:
        if self._redis.get(keys.SCHEMA_LOCK) == token.encode():
            self._redis.delete(keys.SCHEMA_LOCK)
