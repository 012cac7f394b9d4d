"""The scripted model of a chaos run: it can hold back an answer's last bytes for a moment.

An answer is logged and charged before its last bytes are sent. Whoever holds one there knows that
the API has answered and that nothing is journaled.
"""

from __future__ import annotations

import threading
from pathlib import Path

from llmos_workers.rehearsal.log import ServedLog, ServedRequest
from llmos_workers.rehearsal.server import RehearsalServer

HOLD_SECS = 5.0
"""Longest an answer is held; the driver kills within milliseconds."""

RATES = {
    "rate_limit:0.5": 0.015,
    "overloaded:0.5": 0.015,
    "server_error": 0.015,
    "slow:0.05": 0.06,
    "cut:2": 0.015,
    "no_stop": 0.01,
    "error_event:1": 0.01,
    "lost": 0.01,
}
"""Faults and their probabilities: refusals, slowness, and answers that break off."""


class HoldingLog(ServedLog):
    """A served log that stops one good answer, when it is asked to, after writing it down."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self._wanted = threading.Event()
        self._held = threading.Event()
        self._go_on = threading.Event()
        self._choosing = threading.Lock()
        self._entry: ServedRequest | None = None

    def add(self, entry: ServedRequest) -> None:
        """Write it down; hold the thread that answers when this answer is chosen."""
        super().add(entry)
        if entry.status != 200 or not entry.complete or entry.fault:
            return
        with self._choosing:
            if not self._wanted.is_set():
                return
            self._wanted.clear()
            self._entry = entry
        self._held.set()
        self._go_on.wait(HOLD_SECS)

    def hold_next(self, timeout_s: float) -> ServedRequest | None:
        """The next good answer, held until ``let_go``; None when none came in time."""
        self._go_on.clear()
        self._held.clear()
        self._wanted.set()
        if self._held.wait(timeout_s):
            return self._entry
        with self._choosing:
            late = not self._wanted.is_set()
            self._wanted.clear()
        return self._entry if late else None

    def let_go(self) -> None:
        """Let the held answer go on, to whoever is still there."""
        self._go_on.set()


def make_model(skills: Path, log: Path, *, seed: int) -> tuple[RehearsalServer, HoldingLog]:
    """The server, not started, and its log."""
    server = RehearsalServer(skills=skills, fault_rates=RATES, seed=seed)
    holding = HoldingLog(log)
    server.log = holding
    return server, holding
