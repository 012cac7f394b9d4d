"""What ``llmos top`` draws: one look at the system, two columns where there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmos_cli.render import printable
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.goal import FINAL_STATES
from llmos_workers.monitor.charts import MODES

if TYPE_CHECKING:
    from rich.console import ConsoleDimensions, Group
    from rich.table import Table

    from llmos_workers.contracts.errors import LLMOSError
    from llmos_workers.monitor.figures import Figures
    from llmos_workers.monitor.tally import Tally

WIDE = 100
"""Columns of a terminal from which on there are two of ours."""
LEAST_ROWS = 3
TAKEN_ROWS = 22
"""Lines that everything but projects and workers takes."""
BAR = 12
LOW_SHARE = 0.2


def view(
    figures: Figures, tally: Tally, *, size: ConsoleDimensions | None = None, foot: str = ""
) -> Group:
    """One look for people. ``size``: of the terminal it has to fit; None: all of it, in one column
    with nothing left out.
    """
    from rich.columns import Columns
    from rich.console import Group, RenderableType
    from rich.text import Text

    rows = max(LEAST_ROWS, size.height - TAKEN_ROWS) if size else 1_000
    ended, backlog, state = _ended(tally), _backlog(figures), _state(figures, rows)
    body: RenderableType
    if size is None:
        body = Group(ended, backlog, _workers(figures, rows), state)
    elif size.width >= WIDE:
        sides = Group(ended, backlog), Group(_workers(figures, rows), state)
        body = Columns(sides, equal=True, expand=True)
    else:
        body = Group(ended, backlog, state, Text(f"workers: {_by_role(figures)}"))
    own = ", ".join(f"{name} {number}" for name, number in figures.counters.items()) or "nothing"
    return Group(
        _money(figures),
        Text(f"goals under way: {_under_way(figures)}"),
        body,
        Text(f"done by itself: {own}", style="dim"),
        Text(foot, style="dim"),
    )


def trouble(error: LLMOSError) -> Group:
    """What is shown while the system does not answer."""
    from rich.console import Group
    from rich.text import Text

    return Group(
        Text(error.message, style="bold red"), Text(f"{error.fix} Trying on.", style="dim")
    )


def _money(figures: Figures) -> Table:
    from rich.table import Table
    from rich.text import Text

    budget = figures.budgets[0]
    limited = [sums for sums in budget.all_sums if sums.left_micro is not None]
    least = min(limited, key=lambda sums: sums.left_micro or 0, default=None)
    low = least is not None and least.left_share < LOW_SHARE
    left = "no limit" if least is None else format_usd(least.left_micro or 0)
    wrong = f"<= {figures.wrong_bound:.2%}" if figures.audits.decided else "no audits"
    cells = [
        ("spent", format_usd(budget.lifetime.spent_micro), "bold"),
        ("saved", format_usd(budget.saved_micro), "bold green"),
        ("left", left, "bold red" if low else "bold"),
        ("traces", f"{figures.traces:,}", "bold"),
        ("approvals", f"{figures.approvals:,}", "bold yellow" if figures.approvals else "bold"),
        ("wrong replays", wrong, "bold"),
    ]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for name, _, _ in cells:
        table.add_column(name)
    table.add_row(*(Text(value, style=style) for _, value, style in cells))
    return table


def _under_way(figures: Figures) -> str:
    live = {s: n for s, n in figures.states.items() if n and s not in FINAL_STATES}
    return ", ".join(f"{number:,} {state}" for state, number in live.items()) or "none"


def _ended(tally: Tally) -> Table:
    """A line for each mode, the cheapest first."""
    by_mode: dict[str, Counter[str]] = {}
    for (mode, status), number in tally.ended.items():
        by_mode.setdefault(mode, Counter())["ok" if status == "SUCCEEDED" else "not"] += number
    total = sum(counts.total() for counts in by_mode.values()) or 1
    rows = [
        (mode, f"{by_mode[mode]['ok']:,}", f"{by_mode[mode]['not']:,}",
         _bar(by_mode[mode].total() / total))
        for mode in sorted(by_mode, key=MODES.index)
    ]  # fmt: skip
    return _table("goals that ended", ("mode", "succeeded", "others", "share<"), rows)


def _backlog(figures: Figures) -> Table:
    return _table(
        f"backlog, longest wait {figures.backlog.oldest_s:,.0f} s",
        ("queue", "queued", "delayed", "held"),
        [(q.queue, q.queued, q.delayed, q.unacked) for q in figures.backlog.queues],
    )


def _workers(figures: Figures, most: int) -> Table:
    rows = [(w["worker"], w["role"], w["concurrency"], w["pid"]) for w in figures.workers]
    return _table("workers", ("worker", "role<", "slots", "pid"), rows, most)


def _by_role(figures: Figures) -> str:
    roles: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for worker in figures.workers:
        roles[str(worker["role"])] += 1
        slots[str(worker["role"])] += int(worker["concurrency"] or 0)
    found = (f"{number} {printable(role)} ({slots[role]} slots)" for role, number in roles.items())
    return ", ".join(found) or "none"


def _state(figures: Figures, most: int) -> Table:
    rows = [
        (name, *(f"{value:+.2f}" for value in state.valence.model_dump().values()))
        for name, state in figures.feelings.items()
    ]
    head = ("project", "safety", "curiosity", "energy", "self-conf.")
    return _table("internal state", head, rows, most)


def _bar(share: float) -> str:
    return "█" * round(share * BAR) or ("▏" if share else "")


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[object]], most: int = 1_000
) -> Table:
    """The first column and those marked ``<`` hold words, the others numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False,
        header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    for number, name in enumerate(head):
        words = number == 0 or name.endswith("<")
        table.add_column(
            name.removesuffix("<"), justify="left" if words else "right", no_wrap=True,
            style="cyan" if number == 0 else "",
        )  # fmt: skip
    for row in rows[:most]:
        # As Text: names are no markup, and steer no terminal.
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most:,} more", style="dim"))
    if not rows:
        table.add_row(Text("none", style="dim"))
    return table
