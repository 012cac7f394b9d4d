"""Progress events of a run: streamed words are gathered, so that a token is not a round trip."""

from __future__ import annotations

from typing import Any

from llmos_workers.kernel.goals import GoalStore

FLUSH_CHARS = 400
"""Words are passed on when so many characters have come, or when something else happens."""


class Progress:
    """A sink for the events of one run; call ``flush`` at its end.

    With the run's ``fence`` each call raises LeaseLost once another run has the goal, and
    GoalFinished once it has ended: a late run tells nothing.
    """

    def __init__(self, goals: GoalStore, goal_id: str, *, fence: int | None = None) -> None:
        self._goals = goals
        self._goal_id = goal_id
        self._fence = fence
        self._text = ""

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        """Take one event."""
        if kind == "text":
            self._text += str(data.get("text", ""))
            if len(self._text) < FLUSH_CHARS:
                return
            self.flush()
            return
        self.flush()
        self._goals.emit(self._goal_id, kind, data, fence=self._fence)

    def flush(self) -> None:
        """Pass on the words gathered so far."""
        if self._text:
            text, self._text = self._text, ""
            self._goals.emit(self._goal_id, "text", {"text": text}, fence=self._fence)
