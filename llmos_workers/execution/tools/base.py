"""What a tool is, and what it gets to work with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolResult, ToolSpec
from llmos_workers.execution.net.egress import Egress
from llmos_workers.execution.run_secrets import RunSecrets
from llmos_workers.execution.sandbox.base import Sandbox
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.tainted import TaintedFiles

MAX_OUTPUT_CHARS = 60_000
"""Longest text a tool returns; what is beyond is cut off, and the result says so."""


MAX_WORD_CHARS = 2_000
_LAST_WORD = re.compile(r"(?<=\s)\S+\Z")


def _never() -> bool:
    return False


@dataclass
class ToolContext:
    """Where a call works and how long it may."""

    project: str
    area: Path
    """The folder that tools may read and write: the project's output folder."""
    goal_id: str
    sandbox: Sandbox
    deadline: float | None = None
    """On the steady clock, in seconds."""
    cancelled: Callable[[], bool] = _never
    dry_run: bool = False
    """Calls that change anything are refused."""
    durable: bool = True
    """What a call writes is on the disk when it is done. A replay, which is repeated from its
    start, leaves that to the publishing of its stage."""
    agent: str = ""
    """Name of the agent that calls."""
    grants: frozenset[str] = frozenset()
    """What that agent may use in this run."""
    network: Egress | None = None
    """What commands may reach; None: nothing."""
    secrets: RunSecrets = field(default_factory=RunSecrets)
    """Secrets of the project's files that the run has come across."""
    tainted: TaintedFiles = field(default_factory=TaintedFiles)
    """Files in the area that hold what others wrote."""
    outside: Callable[[], bool] = _never
    """Whether the run holds content from outside."""
    clock: Clock = field(default_factory=SystemClock)

    def time_left(self, most: float) -> float:
        """Seconds a call may take: ``most``, or less when the deadline is nearer."""
        if self.deadline is None:
            return most
        return max(0.0, min(most, self.deadline - self.clock.steady()))


class Tool(Protocol):
    """A tool. ``arguments`` are already valid for ``spec.input_schema``."""

    @property
    def spec(self) -> ToolSpec:
        """What the tool is."""
        ...

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Do it. Raises ToolError or InfrastructureError when it cannot."""
        ...


def success(
    output: str,
    *,
    reads: tuple[FileDigest, ...] = (),
    writes: tuple[FileDigest, ...] = (),
    truncated: bool = False,
) -> ToolResult:
    """A result that went well, its output capped."""
    text, cut = cap(output)
    return ToolResult(ok=True, output=text, reads=reads, writes=writes, truncated=truncated or cut)


def cap(text: str, limit: int = MAX_OUTPUT_CHARS) -> tuple[str, bool]:
    """The text, or its start and a note of its full length; and whether it was cut."""
    if len(text) <= limit:
        return text, False
    return f"{text[: whole_words(text, limit)]}\n[truncated: {len(text):,} characters in all]", True


def whole_words(text: str, limit: int) -> int:
    """How much of a text to keep, at most ``limit``, so that no word is halved: half a key is
    not known as one any more. A longer word than MAX_WORD_CHARS is none.
    """
    if len(text) <= limit or text[limit].isspace():
        return min(limit, len(text))
    last = _LAST_WORD.search(text, max(0, limit - MAX_WORD_CHARS), limit)
    return limit if last is None else last.start()
