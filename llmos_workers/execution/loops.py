"""Stops a model that goes round in circles: the same call, the same result, nothing changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from llmos_workers.contracts.tools import Effect, ToolCall, ToolResult, ToolSpec
from llmos_workers.execution.recording import output_digest

MAX_SAME = 2
"""So often a call may give the same result; the next time it is not run."""

REFUSED = ToolResult(
    ok=False,
    error="this very call was made twice before with the same result, and nothing has changed "
    "since: it was not run again. Do something else, or finish and say what is missing.",
    denied_by="loop",
)


@dataclass
class LoopWatch:
    """Counts what a run does again and again.

    What a call found counts as changed as soon as any other call does something new that may
    change files or the world; a call that gives another result each time (polling) is no loop.
    """

    _same: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Digest of a call -> digest of its result, and how often in a row it was that."""
    _refused: set[str] = field(default_factory=set)

    def circles(self, call: ToolCall) -> bool:
        """Whether to refuse the call: it would be the third time."""
        return self._same.get(call.digest(), ("", 0))[1] >= MAX_SAME

    def hopeless(self, call: ToolCall) -> bool:
        """Told once about a refused call; True when it was told before."""
        again = call.digest() in self._refused
        self._refused.add(call.digest())
        return again

    def note(self, spec: ToolSpec | None, call: ToolCall, result: ToolResult) -> None:
        """A call ran."""
        key, outcome = call.digest(), _digest(result)
        before, times = self._same.get(key, ("", 0))
        news = outcome != before
        if news and result.ok and spec is not None and spec.effect is not Effect.READ:
            self._same.clear()
            self._refused.clear()
        self._same[key] = (outcome, 1 if news else times + 1)


def _digest(result: ToolResult) -> str:
    facts = (result.ok, result.exit_code, result.error, output_digest(result.output))
    return hashlib.sha256(repr(facts).encode()).hexdigest()
