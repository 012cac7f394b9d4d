"""``llmos top``: the system, live in the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import emit, json_option
from llmos_cli.render import printable
from llmos_workers.client_connect import talking
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.goal import FINAL_STATES
from llmos_workers.monitor.figures import Figures, look
from llmos_workers.monitor.tally import Tally

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

MOST_PROJECTS = 10


@click.command()
@click.option("--once", is_flag=True, help="Show one look and end.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(0.2, 3_600),
              metavar="SECONDS", help="Pause between looks.")  # fmt: skip
@json_option
@click.pass_obj
def top(session: Session, once: bool, every: float, as_json: bool) -> int:
    """Watch goals, backlog, workers, money and internal state.

    Ctrl-C ends it.
    """
    from rich.console import Console
    from rich.live import Live

    client = session.client
    tally = Tally(client.redis)

    def seen() -> Figures:
        with talking(client.place, "reading the figures"):
            tally.update()
            return look(client)

    console = Console()
    if as_json:
        while True:
            emit(data(seen(), tally))
            if once:
                return Exit.SUCCEEDED
            time.sleep(every)
    if once:
        console.print(view(seen(), tally))
        return Exit.SUCCEEDED
    with Live(view(seen(), tally), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(view(seen(), tally), refresh=True)


def data(figures: Figures, tally: Tally) -> dict[str, Any]:
    """One look for programs."""
    budget = figures.budgets[0]
    return {
        "states": {name: number for name, number in figures.states.items() if number},
        "ended": [
            {"mode": mode, "status": status, "goals": number}
            for (mode, status), number in sorted(tally.ended.items())
        ],
        "backlog": [
            queue.model_dump() | {"total": queue.total} for queue in figures.backlog.queues
        ],
        "oldest_s": round(figures.backlog.oldest_s, 3),
        "workers": list(figures.workers),
        "spent_micro": budget.lifetime.spent_micro,
        "saved_micro": budget.saved_micro,
        "left_micro": min(
            (s.left_micro for s in budget.all_sums if s.left_micro is not None), default=None
        ),
        "approvals": figures.approvals,
        "traces": figures.traces,
        "valence": {name: s.valence.model_dump() for name, s in figures.feelings.items()},
        "counters": figures.counters,
        "wrong_replay_bound": figures.wrong_bound,
    }


def view(figures: Figures, tally: Tally) -> Group:
    """One look for people."""
    from rich.console import Group
    from rich.text import Text

    told = data(figures, tally)
    left = "no limit" if told["left_micro"] is None else f"{format_usd(told['left_micro'])} left"
    line = (
        f"spent {format_usd(told['spent_micro'])}, saved {format_usd(told['saved_micro'])}, "
        f"{left}; {figures.traces} traces; {figures.approvals} open approvals; "
        f"wrong replays at most {figures.wrong_bound:.2%}"
    )
    live = {s: n for s, n in told["states"].items() if s not in FINAL_STATES}
    under_way = ", ".join(f"{number} {state}" for state, number in live.items()) or "none"
    own = ", ".join(f"{name} {number}" for name, number in figures.counters.items()) or "nothing"
    return Group(
        Text(line, style="bold"),
        Text(f"goals under way: {under_way}"),
        _table(
            f"backlog, longest wait {figures.backlog.oldest_s:.0f} s",
            ("queue", "queued", "delayed", "unacked"),
            [(q.queue, q.queued, q.delayed, q.unacked) for q in figures.backlog.queues],
        ),
        _table(
            "workers",
            ("worker", "role", "slots", "pid"),
            [(w["worker"], w["role"], w["concurrency"], w["pid"]) for w in figures.workers],
        ),
        _table(
            "goals that ended",
            ("mode", "status", "goals"),
            [(mode, status, n) for (mode, status), n in sorted(tally.ended.items())],
        ),
        _table(
            "internal state",
            ("project", "safety", "curiosity", "energy", "self-confidence"),
            [
                (name, *(f"{value:+.2f}" for value in state.valence.model_dump().values()))
                for name, state in list(figures.feelings.items())[:MOST_PROJECTS]
            ],
        ),
        Text(f"done by itself: {own}", style="dim"),
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number == 0 else "right", style="cyan")
    for row in rows:
        # As Text: names are no markup, and steer no terminal.
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    return table
