"""``llmos schedule add | list | next | pause | resume | remove``: goals by the clock."""

from __future__ import annotations

import heapq
from datetime import datetime
from itertools import islice
from typing import Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option, moment
from llmos_cli.render import printable, short
from llmos_workers.client_check import check_agent
from llmos_workers.contracts.payload import make_options
from llmos_workers.kernel.cron import Misfire, fires, parse_zone
from llmos_workers.kernel.schedules import Schedule


@click.group()
def schedule() -> None:
    """Submit goals by the clock.

    Schedules live in Redis; any worker that is up fires them. A firing that comes more than a
    minute late, because no worker was up, is a misfire. What happens then is the schedule's
    misfire policy: "once" (the default) submits one goal for all missed firings, "skip" none,
    "all" one for each.
    """


@schedule.command()
@click.argument("cron")
@click.argument("goal")
@project_option("Project of the goals.")
@click.option("--mode", metavar="MODE", default="auto", shell_complete=offers("modes"),
              help="Mode of the goals; see llmos submit.")  # fmt: skip
@click.option("--agent", metavar="NAME", shell_complete=offers("agents"), help="Agent that thinks.")
@click.option("--budget", metavar="USD", help="Most that each goal may cost, in dollars.")
@click.option(
    "--priority",
    type=click.IntRange(1, 3),
    metavar="1|2|3",
    default=2,
    help="1 goes first, 3 last (default: 2).",
)
@click.option("--tz", "zone", default="UTC", show_default=True, metavar="ZONE",
              help="Time zone of the expression, as Europe/Vienna.")  # fmt: skip
@click.option("--misfire", type=click.Choice([m.value for m in Misfire]), default="once",
              show_default=True, help="What missed firings become.")  # fmt: skip
@json_option
@click.pass_obj
def add(session: Session, /, *, cron: str, goal: str, as_json: bool, **given: Any) -> int:
    """Submit GOAL whenever CRON fires.

    CRON is minute, hour, day, month and weekday, or @daily and the like.

    \b
    llmos schedule add "0 9 * * MON-FRI" "Summarize the inbox" --tz Europe/Vienna
    llmos schedule add @hourly "Check the links" --misfire skip --budget 0.10
    """  # noqa: D301 - click's mark for lines that stay as they are
    check_agent(given["agent"], session.config.workspace / "agents")
    options = make_options(
        project=given["project"] or session.config.project_name or "default",
        mode=given["mode"],
        agent=given["agent"],
        budget_usd=given["budget"],
        priority=given["priority"],
    )
    made = session.client.schedules.add(
        cron, goal, options=options, zone=given["zone"], misfire=given["misfire"]
    )
    return _told("added", made, as_json=as_json)


@schedule.command(name="list")
@json_option
@click.pass_obj
def list_schedules(session: Session, as_json: bool) -> int:
    """List schedules, oldest first."""
    found = session.client.schedules.list()
    if as_json:
        for one in found:
            emit(one)
    else:
        print("\n".join(_rows(found)) if found else "no schedules.")
    return Exit.SUCCEEDED


@schedule.command(name="next")
@click.argument("schedule_id", metavar="[ID]", required=False, shell_complete=offers("schedules"))
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 1_000),
              help="How many firings to show.")  # fmt: skip
@json_option
@click.pass_obj
def upcoming(session: Session, schedule_id: str | None, count: int, as_json: bool) -> int:
    """Show the next firings of schedule ID, or of all."""
    store = session.client.schedules
    found = [store.get(schedule_id)] if schedule_id else store.list()
    lines = heapq.merge(*(_upcoming(one, count) for one in found), key=lambda pair: pair[0])
    empty = True
    for when, one in islice(lines, count):
        empty = False
        local = datetime.fromtimestamp(when, parse_zone(one.zone)).isoformat(timespec="seconds")
        if as_json:
            emit({"schedule_id": one.schedule_id, "at": moment(when), "local": local})
        else:
            print(f"{local}  {one.schedule_id}  {short(one.goal)}")
    if empty and not as_json:
        print("nothing is scheduled.")
    return Exit.SUCCEEDED


@schedule.command()
@click.argument("schedule_id", metavar="ID", shell_complete=offers("schedules"))
@json_option
@click.pass_obj
def pause(session: Session, schedule_id: str, as_json: bool) -> int:
    """Stop schedule ID from firing until it is resumed."""
    return _told("paused", session.client.schedules.pause(schedule_id), as_json=as_json)


@schedule.command()
@click.argument("schedule_id", metavar="ID", shell_complete=offers("schedules"))
@json_option
@click.pass_obj
def resume(session: Session, schedule_id: str, as_json: bool) -> int:
    """Let schedule ID fire again, from now on.

    What fell into the pause is left out.
    """
    return _told("resumed", session.client.schedules.resume(schedule_id), as_json=as_json)


@schedule.command()
@click.argument("schedule_id", metavar="ID", shell_complete=offers("schedules"))
@json_option
@click.pass_obj
def remove(session: Session, schedule_id: str, as_json: bool) -> int:
    """Forget schedule ID; goals it has submitted stay."""
    return _told("removed", session.client.schedules.remove(schedule_id), as_json=as_json)


def _upcoming(one: Schedule, count: int) -> list[tuple[float, Schedule]]:
    if one.next_at is None:
        return []
    later = islice(fires(one.cron, parse_zone(one.zone), one.next_at), count - 1)
    return [(moment, one) for moment in (one.next_at, *later)]


def _told(what: str, one: Schedule, *, as_json: bool) -> int:
    if as_json:
        emit(one)
    else:
        print(f"{what}: schedule {one.schedule_id} ({one.cron}, {one.zone}), next {_when(one)}.")
    return Exit.SUCCEEDED


def _when(one: Schedule) -> str:
    if one.paused:
        return "paused"
    if one.next_at is None:
        return "never"
    return datetime.fromtimestamp(one.next_at, parse_zone(one.zone)).isoformat(timespec="seconds")


def _rows(found: list[Schedule]) -> list[str]:
    rows = [("ID", "CRON", "ZONE", "MISFIRE", "PROJECT", "NEXT", "FIRED", "GOAL")]
    for one in found:
        error = f" ! {short(one.last_error)}" if one.last_error else ""
        rows.append((one.schedule_id, one.cron, one.zone, one.misfire.value, one.options.project,
                     _when(one), str(one.fired), short(one.goal) + error))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(7)]
    return [
        printable("  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[7]]))
        for row in rows
    ]
