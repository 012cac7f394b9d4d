"""``llmos budget show | set | ledger | doubt | check``: what was spent, and what may be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import click

from llmos_cli.budget_render import (
    csv_row,
    csv_writer,
    doubt_lines,
    entry_line,
    legend,
    plain_usd,
    scope_data,
    scope_lines,
)
from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import data_of, emit, json_option, moment
from llmos_cli.progress import at_work
from llmos_cli.render import printable
from llmos_workers.client_connect import talking
from llmos_workers.contracts.base import format_usd, usd_to_micro
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.economy_scopes import ScopeState, Window, check_scope
from llmos_workers.kernel.ledger import LedgerEntry, Reservation

SETTING_OF = {"": "budget_usd", "day": "daily_budget_usd", "month": "monthly_budget_usd"}


@click.group()
def budget() -> None:
    """See what was spent, and set what may be.

    Scopes are global, project:NAME and goal:ID. Each may have a limit for its lifetime; global
    and projects also one for each day and each month (UTC).
    """


@budget.command()
@project_option("Only global and this project.")
@json_option
@click.pass_obj
def show(session: Session, project: str | None, as_json: bool) -> int:
    """Show what is spent, promised, in doubt and left."""
    economy = session.client.token_economy
    with talking(session.client.place, "reading the budget"):
        names = economy.known_scopes()
        if project is not None:
            names = ["global", f"project:{check_project_name(project)}"]
        states = economy.states(names)
        doubts = economy.doubts()
    if as_json:
        emit({"scopes": [scope_data(s) for s in states], "calls_in_doubt": len(doubts)})
        return Exit.SUCCEEDED
    for state in states:
        click.echo("\n".join(scope_lines(state)) + "\n")
    click.echo(legend())
    if doubts:
        click.echo(f"{len(doubts)} in doubt: llmos budget doubt")
    for hint in _overruled(session, states[0]):
        click.echo(hint)
    return Exit.SUCCEEDED


@budget.command(name="set")
@click.argument("scope", metavar="SCOPE")
@click.argument("amount", metavar="AMOUNT")
@click.option("--window", type=click.Choice(["day", "month"]),
              help="Limit each day or month (UTC), not the lifetime.")  # fmt: skip
@json_option
@click.pass_obj
def set_limit(
    session: Session, scope: str, amount: str, window: Window | None, as_json: bool
) -> int:
    """Set the limit of SCOPE to AMOUNT dollars, or lift it with none.

    \b
    llmos budget set global 5 --window day
    llmos budget set project:demo 20
    llmos budget set goal:ID none
    """  # noqa: D301 - click's mark for lines that stay as they are
    check_scope(scope, window)
    kind, _, name = scope.partition(":")
    if kind == "project":
        check_project_name(name)
    elif kind == "goal":
        session.client.get(name).record()  # raises for one that is not there
    economy = session.client.token_economy
    with talking(session.client.place, "setting a budget"):
        economy.set_limit(scope, None if amount == "none" else _micro(amount), window=window)
        (state,) = economy.states([scope])
    if as_json:
        emit(scope_data(state))
    else:
        click.echo("\n".join(scope_lines(state)))
    return Exit.SUCCEEDED


@budget.command()
@click.option(
    "--goal", metavar="ID", shell_complete=offers("goals"), help="Only lines of this goal."
)
@project_option("Only lines of this project.")
@click.option("--since", metavar="TIME", help="Only from then on: ISO 8601, UTC without a zone.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a head.")
@json_option
@click.pass_obj
def ledger(
    session: Session,
    /,
    *,
    goal: str | None,
    project: str | None,
    since: str | None,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Print every charge, doubt and saving, the oldest first."""
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    entries = session.client.token_economy.entries(since=None if since is None else _time(since))
    writer = csv_writer(sys.stdout) if as_csv else None
    with talking(session.client.place, "reading the ledger"):
        for entry in _chosen(entries, goal, project):
            if writer is not None:
                writer.writerow(csv_row(entry))
            elif as_json:
                emit({"at": moment(entry.at)} | data_of(entry))
            else:
                print(entry_line(entry))
    return Exit.SUCCEEDED


@budget.command()
@click.option("--settle", nargs=2, metavar="ID AMOUNT",
              help="Charge the call what it really cost, in dollars.")  # fmt: skip
@click.option("--release", metavar="ID", help="Charge the call nothing: it was never worked on.")
@click.option("--why", default="by hand", metavar="TEXT", help="The evidence, for the ledger.")
@json_option
@click.pass_obj
def doubt(
    session: Session,
    /,
    *,
    settle: tuple[str, str] | None,
    release: str | None,
    why: str,
    as_json: bool,
) -> int:
    """List calls whose answer was lost; put one right.

    Such a call stays charged at the most it can have cost. What it did cost stands in the
    provider's own bill. ID may be cut short where that is clear.
    """
    if settle and release:
        raise click.UsageError("--settle and --release exclude each other.")
    economy = session.client.token_economy
    with talking(session.client.place, "reading the calls in doubt"):
        found = economy.doubts()
        if settle or release:
            call = _one(found, settle[0] if settle else str(release))
            return _correct(economy, call, _micro(settle[1]) if settle else 0, why, as_json)
    if as_json:
        for call in found:
            emit(call)
    else:
        print("\n".join(doubt_lines(found)) if found else "no call is in doubt.")
    return Exit.SUCCEEDED


@budget.command()
@json_option
@click.pass_obj
def check(session: Session, as_json: bool) -> int:
    """Verify that ledger, sums, reservations and limits agree.

    Exits with 1 when they do not.
    """
    with at_work(session.client, "checking the money", quiet=as_json) as watch:
        found = audit(session.client.redis, watch)
    if as_json:
        emit({"ok": not found.faults} | data_of(found))
    else:
        for fault in found.faults:
            print(f"wrong: {printable(str(fault))}")
        verdict = f"{len(found.faults)} wrong" if found.faults else "all agree"
        print(
            f"{found.ledger_entries} ledger lines, {found.scopes} scopes, {found.reservations} "
            f"open calls, {format_usd(found.spent_micro)} spent: {verdict}."
        )
    return Exit.FAILED if found.faults else Exit.SUCCEEDED


def _overruled(session: Session, state: ScopeState) -> Iterator[str]:
    """What to say of settings that somebody chose and that are not the limit in force."""
    for sums in state.all_sums:
        field = SETTING_OF[sums.window]
        configured = getattr(session.config.kernel, field)
        if configured is None or f"kernel.{field}" not in session.sources:
            continue
        micro = usd_to_micro(configured)
        if micro != sums.limit_micro:
            window = f" --window {sums.window}" if sums.window else ""
            amount = plain_usd(micro)
            yield (
                f"kernel.{field} says {amount}, which holds only where no limit was set yet; to "
                f"have it: llmos budget set global {amount.removeprefix('$')}{window}"
            )


def _chosen(
    entries: Iterator[LedgerEntry], goal: str | None, project: str | None
) -> Iterator[LedgerEntry]:
    for entry in entries:
        if goal in (None, entry.goal_id) and project in (None, entry.project):
            yield entry


def _correct(economy: TokenEconomy, call: Reservation, micro: int, why: str, as_json: bool) -> int:
    economy.correct(call.reservation_id, micro, why=why)
    if as_json:
        emit({"reservation_id": call.reservation_id, "cost_micro": micro})
    else:
        held = format_usd(call.bound_micro)
        print(f"charged {format_usd(micro)} instead of {held} for {call.reservation_id}")
    return Exit.SUCCEEDED


def _one(found: list[Reservation], given: str) -> Reservation:
    """The call that an id, or its beginning, names. Raises InvalidOption."""
    exact = [call for call in found if call.reservation_id == given]
    fitting = exact or [c for c in found if given and c.reservation_id.startswith(given)]
    if len(fitting) == 1:
        return fitting[0]
    many = f"{len(fitting)} calls in doubt begin with" if fitting else "no call in doubt is"
    raise InvalidOption(f"{many} {given!r}.", fix="See llmos budget doubt.")


def _micro(text: str) -> int:
    """An amount in dollars, 0 allowed. Raises InvalidOption."""
    plain = text.strip().removeprefix("$")
    try:
        if Decimal(plain) == 0:
            return 0
    except InvalidOperation:
        pass  # usd_to_micro says what is wrong
    return usd_to_micro(plain, what="amount")


def _time(text: str) -> float:
    """Unix time of an ISO time. Raises InvalidOption."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidOption(
            f"{text!r} is no time.", fix="Write 2026-11-22 or 2026-11-22T18:00+01:00."
        ) from None
