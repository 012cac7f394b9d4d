"""``llmos top``: the system, live in the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import emit, json_option
from llmos_cli.top_view import trouble, view
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.kernel.clock import iso
from llmos_workers.monitor.figures import Figures, look
from llmos_workers.monitor.tally import Tally

if TYPE_CHECKING:
    from rich.console import Group


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
    note = f"every {every:g} s, Ctrl-C ends"

    def shown() -> Group:
        # A server that is away for a moment ends no watch: it is what is watched for.
        try:
            figures = seen()
        except BrokerUnavailable as error:
            return trouble(error)
        now = f"{iso(client.clock.now())} · {note}"
        return view(figures, tally, size=console.size, foot=now)

    first = view(seen(), tally, size=console.size, foot=note)
    with Live(first, console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(shown(), refresh=True)
            time.sleep(every)


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
