"""Money as plain text: bars, ledger lines, CSV. Pure but for the CSV writer."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import click

from llmos_cli.output import data_of
from llmos_cli.render import printable, short
from llmos_workers.contracts.base import format_usd, micro_to_usd
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.economy_scopes import ALERT_SHARES, ScopeState, Sums
from llmos_workers.kernel.ledger import LedgerEntry, Reservation

BAR_CELLS = 32
SPENT, IN_DOUBT, RESERVED, FREE = "█▓░·"


def scope_lines(state: ScopeState) -> list[str]:
    """A scope: a bar for its lifetime and for each window that has a limit, and the sums."""
    shown = [s for s in state.all_sums if not s.window or s.limit_micro is not None]
    lines = [click.style(printable(state.scope), bold=True)]
    lines += [f"  {_title(sums):<16}{_bar_line(sums)}" for sums in shown]
    life = state.lifetime
    parts = [f"spent {format_usd(life.spent_micro)}"]
    parts += [f"reserved {format_usd(life.reserved_micro)}"] if life.reserved_micro else []
    parts += [f"in doubt {format_usd(life.in_doubt_micro)}"] if life.in_doubt_micro else []
    parts += [f"saved by replay {format_usd(state.saved_micro)}"] if state.saved_micro else []
    return [*lines, f"  {'':<16}{', '.join(parts)}"]


def legend() -> str:
    """What the cells of a bar are."""
    return f"{SPENT} spent  {IN_DOUBT} in doubt  {RESERVED} reserved  {FREE} left    days in UTC"


def _title(sums: Sums) -> str:
    return f"{sums.window} {sums.period}" if sums.window else "lifetime"


def _bar_line(sums: Sums) -> str:
    limit = sums.limit_micro
    if limit is None:
        return "no limit"
    share = sums.committed_micro * 100 / limit if limit else 100.0
    figures = f"{format_usd(sums.committed_micro)} of {format_usd(limit)}"
    left = f"{format_usd(sums.left_micro or 0)} left"
    return f"{click.style(bar(sums), fg=_color(share))} {share:4.0f} %  {figures}, {left}"


def bar(sums: Sums, cells: int = BAR_CELLS) -> str:
    """Spent, in doubt, reserved and left as ``cells`` characters; what there is, shows."""
    limit = max(sums.limit_micro or 0, sums.committed_micro, 1)
    drawn, total = "", 0
    parts = (
        (SPENT, sums.spent_micro),
        (IN_DOUBT, sums.in_doubt_micro),
        (RESERVED, sums.reserved_micro),
    )
    for sign, micro in parts:
        total += micro
        if micro > 0:
            drawn += sign * max(1, total * cells // limit - len(drawn))
    if sums.limit_micro == 0:
        drawn = SPENT * cells
    return f"{drawn[:cells]:{FREE}<{cells}}"


def _color(share: float) -> str:
    low, lower = ALERT_SHARES
    return "red" if share >= lower else "yellow" if share >= low else "green"


def scope_data(state: ScopeState) -> dict[str, Any]:
    """A scope as JSON, with what is left."""
    return {
        "scope": state.scope,
        "saved_micro": state.saved_micro,
        "limits": [
            data_of(sums) | {"window": sums.window or "lifetime", "left_micro": sums.left_micro}
            for sums in state.all_sums
        ],
    }


def entry_line(entry: LedgerEntry) -> str:
    """One ledger line for people."""
    amount = {
        "saved": f"saved {format_usd(entry.saved_micro)}",
        "doubt": f"holds {format_usd(entry.bound_micro)}",
        "over_bound": f"over by {format_usd(entry.over_micro)}",
    }.get(entry.kind, format_usd(entry.micro))
    tokens = f"{entry.usage.total_tokens:,} tokens" if entry.usage.total_tokens else ""
    words = (entry.project, entry.mode, entry.model, entry.purpose, tokens, entry.goal_id)
    about = [short(word) for word in (*words, entry.why) if word]
    return f"{iso(entry.at)}  {entry.kind:<10}  {amount:>16}  {'  '.join(about)}"


CSV_FIELDS: Mapping[str, Callable[[LedgerEntry], object]] = {
    "time": lambda e: iso(e.at),
    "entry": lambda e: e.entry_id,
    "kind": lambda e: e.kind,
    "goal": lambda e: e.goal_id,
    "project": lambda e: e.project,
    "mode": lambda e: e.mode,
    "model": lambda e: e.model,
    "purpose": lambda e: e.purpose,
    "input_tokens": lambda e: e.usage.input_tokens,
    "output_tokens": lambda e: e.usage.output_tokens,
    "cache_write_5m_tokens": lambda e: e.usage.cache_write_5m_tokens,
    "cache_write_1h_tokens": lambda e: e.usage.cache_write_1h_tokens,
    "cache_read_tokens": lambda e: e.usage.cache_read_tokens,
    "micro_dollars": lambda e: e.micro,
    "saved_micro_dollars": lambda e: e.saved_micro,
    "held_micro_dollars": lambda e: e.bound_micro,
    "over_micro_dollars": lambda e: e.over_micro,
    "counts_in_day": lambda e: e.day,
    "reservation": lambda e: e.reservation_id,
    "why": lambda e: e.why,
}
"""Columns of ``llmos budget ledger --csv``; micro_dollars adds up to what was spent."""


def csv_row(entry: LedgerEntry) -> list[object]:
    """The cells of a line; a text that a spreadsheet would run as a formula is quoted."""
    cells = [read(entry) for read in CSV_FIELDS.values()]
    return [f"'{c}" if isinstance(c, str) and c[:1] in ("=", "+", "-", "@") else c for c in cells]


def csv_writer(to: IO[str]) -> Any:
    """A writer that has written the head."""
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    return writer


def doubt_lines(found: Sequence[Reservation]) -> list[str]:
    """Calls in doubt for people."""
    lines = []
    for call in found:
        what = f"{call.model}, {call.purpose}, project {call.project}, goal {call.goal_id}"
        held = f"{format_usd(call.bound_micro)} held since {iso(call.at)}"
        lines += [printable(call.reservation_id), f"  {held}: {short(what, 200)}"]
    total = sum(call.bound_micro for call in found)
    calls = "1 call is" if len(found) == 1 else f"{len(found)} calls are"
    return [*lines, f"{calls} in doubt, charged at {format_usd(total)} in all."]


def plain_usd(micro: int) -> str:
    """Exact dollars for people to type again: ``$5`` or ``$0.000012``."""
    return f"${micro_to_usd(micro).normalize():f}"
