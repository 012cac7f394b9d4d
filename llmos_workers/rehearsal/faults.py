"""Faults on request: what the server does wrong when a test or a chaos run asks for it.

A fault is asked for in one of four ways, tried in this order: the request header
``x-rehearsal-fault``, the marker ``rehearsal-fault=...`` in ``metadata.user_id``, the queue
(``server.faults.next("stall")``, or lines in a control file that another process writes), or
seeded random rates. Its spelling is ``kind`` or ``kind:argument``.
"""

from __future__ import annotations

import random
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.rehearsal.protocol import STOP_REASONS, ApiFault

HEADER = "x-rehearsal-fault"
MARKER = re.compile(r"rehearsal-fault=([a-z_]+(?::[^\s;]+)?)")

STATUS_KINDS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limit": 429,
    "spend_limit": 429,
    "server_error": 500,
    "overloaded": 529,
}
"""Answered with an error status. ``rate_limit:7`` says retry-after 7 seconds."""

STREAM_KINDS = frozenset({"cut", "stall", "error_event", "no_stop", "hold", "slow", "lost"})
"""``cut:n`` breaks the connection after n events, ``stall:n`` goes silent after n events until
the client leaves, ``hold:n`` until ``faults.release()``, ``error_event:n`` sends an SSE error,
``no_stop`` ends the body without a stop reason, ``slow:s`` waits s seconds before each event,
``lost`` does and charges the work, but closes the connection without an answer."""

AT_EVENT = frozenset({"cut", "stall", "hold", "error_event"})
"""Kinds whose argument is the number of events before it happens."""

STOP_KIND = "stop_reason"
"""``stop_reason:refusal`` and so on: a good answer with that stop reason."""


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, and an argument whose meaning hangs on the kind."""

    kind: str
    argument: str = ""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``kind`` or ``kind:argument``. Raises ValueError for what is not known."""
        kind, _, argument = text.strip().partition(":")
        if kind == STOP_KIND and argument not in STOP_REASONS:
            raise ValueError(f"unknown stop reason {argument!r}")
        if kind != STOP_KIND and argument:
            float(argument)
        if kind not in STATUS_KINDS and kind not in STREAM_KINDS and kind != STOP_KIND:
            raise ValueError(f"unknown fault {text!r}")
        return cls(kind, argument)

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" if self.argument else self.kind

    @property
    def number(self) -> float:
        """The argument as a number, 1 when there is none."""
        return float(self.argument) if self.argument else 1.0

    def error(self) -> ApiFault | None:
        """The error to answer with, None for faults of the stream."""
        status = STATUS_KINDS.get(self.kind)
        if status is None:
            return None
        if self.kind == "spend_limit":
            return ApiFault(
                429,
                "Your organization has reached its spend limit.",
                error_code="enforced_spend_limit_reached",
            )
        limited = self.kind in ("rate_limit", "overloaded") and self.argument
        return ApiFault(
            status,
            f"rehearsal fault on request: {self.kind}",
            retry_after=self.number if limited else None,
        )


class Faults:
    """Decides which fault a request gets. Safe to use from any thread."""

    def __init__(
        self,
        *,
        rates: Mapping[str, float] | None = None,
        seed: int = 0,
        control_file: Path | None = None,
    ) -> None:
        self._queue: deque[Fault] = deque()
        self._rates = [(Fault.parse(text), rate) for text, rate in (rates or {}).items()]
        self._random = random.Random(seed)
        self._control = control_file
        self._read = 0
        self._lock = threading.Lock()
        self._gate = threading.Event()

    def next(self, *faults: str) -> None:
        """Queue faults for the coming requests, one each. Raises ValueError for unknown ones."""
        with self._lock:
            self._queue.extend(Fault.parse(text) for text in faults)

    def clear(self) -> None:
        """Forget what was queued, and hold again."""
        with self._lock:
            self._queue.clear()
            self._gate.clear()

    @property
    def untaken(self) -> int:
        """How many queued faults no request has met yet."""
        with self._lock:
            return len(self._queue)

    def release(self) -> None:
        """Let all held responses go on, and those held from now on too."""
        self._gate.set()

    @property
    def released(self) -> threading.Event:
        """Set once ``release`` was called."""
        return self._gate

    def pick(self, asked: str, user_id: str) -> Fault | None:
        """The fault of this request, if it gets one. Raises ApiFault(400) for unknown words.

        ``asked`` is what its header says, empty without one.
        """
        if not asked and (marker := MARKER.search(user_id)):
            asked = marker[1]
        try:
            if asked:
                return Fault.parse(asked)
            with self._lock:
                self._read_control_file()
                return self._queue.popleft() if self._queue else self._draw()
        except ValueError as error:
            raise ApiFault(400, f"rehearsal: {error}") from None

    def _read_control_file(self) -> None:
        """Take the complete lines that were added to the control file since the last look."""
        if self._control is None or not self._control.exists():
            return
        added = self._control.read_bytes()[self._read :]
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        self._queue.extend(Fault.parse(line) for line in whole.decode().split("\n") if line.strip())

    def _draw(self) -> Fault | None:
        if not self._rates:
            return None
        point = self._random.random()
        for fault, rate in self._rates:
            if point < rate:
                return fault
            point -= rate
        return None
