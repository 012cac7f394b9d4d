"""The one clock. Whatever needs the time takes a Clock, so that a test can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, steady time for durations; both in seconds."""

    def now(self) -> float:
        """Unix time."""
        ...

    def steady(self) -> float:
        """A time that never jumps; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def steady(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


def iso(seconds: float) -> str:
    """ISO 8601 in UTC with seconds, e.g. ``2026-11-21T10:30:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
