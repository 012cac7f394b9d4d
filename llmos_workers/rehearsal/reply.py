"""What the scripted model says next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the model says next."""

    content: list[dict[str, Any]]
    stop_reason: str
    family: str = ""
    turn: int = 0
