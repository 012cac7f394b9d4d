"""A running goal on the terminal: a live panel where there is one, plain lines elsewhere.

Progress goes to stderr, so that stdout holds the result alone.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from llmos_cli.render import event_line
from llmos_workers.contracts.events import GoalEvent, GoalEventKind

if TYPE_CHECKING:
    from rich.console import Group

LIVE_LINES = 12
TEXT_TAIL = 400


class Progress(Protocol):
    """Shows events as they come; a context manager."""

    def show(self, event: GoalEvent) -> None:
        """Show one more event."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None: ...


class Quiet:
    """Shows nothing."""

    def show(self, event: GoalEvent) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        pass


class PlainLines(Quiet):
    """One line per event."""

    def show(self, event: GoalEvent) -> None:
        """Print the event's line, if it has one."""
        if line := event_line(event):
            print(f"  {line}", file=sys.stderr, flush=True)


class LivePanel(Quiet):
    """The last lines and the model's last words; redrawn in place."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        self._lines: list[str] = []
        self._words = ""
        self._spinner = Spinner("dots", text=Text(title, style="bold"))
        self._live = Live(
            console=Console(stderr=True), get_renderable=self._render, refresh_per_second=12
        )

    def show(self, event: GoalEvent) -> None:
        """Add the event; what the model said last stays below the lines."""
        if event.kind == GoalEventKind.TEXT:
            self._words = str(event.data.get("text", ""))[-TEXT_TAIL:]
        elif line := event_line(event):
            self._lines.append(line)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._live.stop()

    def _render(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        lines = [Text(f"  {line}", no_wrap=True) for line in self._lines[-LIVE_LINES:]]
        words = [Text(self._words, style="dim")] if self._words else []
        return Group(self._spinner, *lines, *words)


def progress(title: str, *, quiet: bool) -> Progress:
    """The right kind of progress for this terminal."""
    if quiet:
        return Quiet()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LivePanel(title)
    return PlainLines()
