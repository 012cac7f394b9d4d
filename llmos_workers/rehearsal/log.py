"""What the server served and what it charges for it: an append-only record of its own.

It is written independently of llmos's ledger, so that the two can be compared.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ServedRequest:
    """One request to ``/v1/messages``, served or refused."""

    at: float
    """Unix time in seconds."""
    request_id: str
    model: str
    status: int
    stream: bool
    family: str = ""
    """Job family that answered; empty: none."""
    turn: int = 0
    stop_reason: str | None = None
    """None: the client never got one from us."""
    usage: dict[str, Any] = field(default_factory=dict)
    charged_micro: int = 0
    """Micro-dollars; an answer that broke off is charged for what was produced."""
    complete: bool = True
    """Whether the whole answer was sent."""
    fault: str = ""
    goal: str = ""
    """What the request says is asked for."""
    asked_at: float = 0.0
    """Unix time in seconds at which the whole request was there."""
    messages: int = 0
    """How many messages the conversation had when the answer was asked for."""
    port: int = 0
    """TCP port that the request came from: tells which process asked."""
    scripted: bool = True
    """Always true: no language model was asked."""


class ServedLog:
    """Append-only log, in memory and, with a path, as JSON lines."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._entries: list[ServedRequest] = []
        self._lock = threading.Lock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def add(self, entry: ServedRequest) -> None:
        """Append one entry; it is in the file when this returns."""
        with self._lock:
            self._entries.append(entry)
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")

    def entries(self) -> list[ServedRequest]:
        """All entries of this server, in order."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget the entries in memory; the file keeps them."""
        with self._lock:
            self._entries.clear()

    @property
    def charged_micro(self) -> int:
        """Sum of all charges in micro-dollars."""
        return sum(entry.charged_micro for entry in self.entries())


def read_log(path: Path) -> list[ServedRequest]:
    """Entries of a log file that another process wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [ServedRequest(**json.loads(line)) for line in lines if line]
