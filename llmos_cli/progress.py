"""What goes on, for people: a running goal, or work that grows with the data.

It goes to stderr, so that stdout holds the result alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from llmos_cli.render import event_line
from llmos_workers.client_connect import talking
from llmos_workers.contracts.events import GoalEvent, GoalEventKind
from llmos_workers.contracts.watch import Watch, unwatched

if TYPE_CHECKING:
    from rich.console import Group
    from rich.progress import Progress

    from llmos_workers.client import LLMOS

T = TypeVar("T")
Show = Callable[[GoalEvent], None]

LIVE_LINES = 12
TEXT_TAIL = 400


@contextmanager
def at_work(client: LLMOS, what: str, *, quiet: bool) -> Iterator[Watch]:
    """Do with Redis what ``what`` says ("reading the traces"), with progress on a terminal.
    ``quiet`` shows none. Nothing may be printed meanwhile. Raises BrokerUnavailable.
    """
    with talking(client.place, what), working(what, quiet=quiet) as watch:
        yield watch


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Watch]:
    """One line on stderr, where that is a terminal, which is gone at the end."""
    if quiet or not _on_terminal():
        yield unwatched
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # stdout may go elsewhere than stderr: it is not rich's to redirect.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
    ) as shown:
        shown.add_task(what, total=None)
        yield _Line(shown)


class _Line:
    """The one line: what is done at the moment, and how far it is where that is known."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def __call__(self, what: str, items: Iterable[T], total: int | None = None, /) -> Iterator[T]:
        outer = next(task.id for task in self._shown.tasks if task.visible)
        total = len(items) if total is None and isinstance(items, Sized) else total
        self._shown.update(outer, visible=False)
        own = self._shown.add_task(what, total=total)
        try:
            for item in items:
                yield item
                self._shown.advance(own)
        finally:
            self._shown.remove_task(own)
            self._shown.update(outer, visible=True)


@contextmanager
def following(title: str, *, quiet: bool) -> Iterator[Show]:
    """Show a goal's events as they come: in a live panel on a terminal, as plain lines elsewhere,
    not at all when ``quiet``.
    """
    if quiet:
        yield lambda _event: None
    elif _on_terminal():
        with _Panel(title).live() as show:
            yield show
    else:
        yield _plain_line


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _plain_line(event: GoalEvent) -> None:
    if line := event_line(event):
        print(f"  {line}", file=sys.stderr, flush=True)


class _Panel:
    """The last lines and the model's last words; redrawn in place."""

    def __init__(self, title: str) -> None:
        from rich.spinner import Spinner
        from rich.text import Text

        self._lines: list[str] = []
        self._words = ""
        self._spinner = Spinner("dots", text=Text(title, style="bold"))

    @contextmanager
    def live(self) -> Iterator[Show]:
        """Show it."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, get_renderable=self._render, refresh_per_second=12):
            yield self._add

    def _add(self, event: GoalEvent) -> None:
        """What the model said last stays below the lines."""
        if event.kind == GoalEventKind.TEXT:
            self._words = str(event.data.get("text", ""))[-TEXT_TAIL:]
        elif line := event_line(event):
            self._lines.append(line)

    def _render(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        lines = [Text(f"  {line}", no_wrap=True) for line in self._lines[-LIVE_LINES:]]
        words = [Text(self._words, style="dim")] if self._words else []
        return Group(self._spinner, *lines, *words)
