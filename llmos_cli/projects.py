"""``llmos projects``: how many goals of each are under way, and may be."""

from __future__ import annotations

from collections.abc import Sequence

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers
from llmos_cli.output import emit, json_option
from llmos_cli.render import printable
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel.admission import Admission, Lane
from llmos_workers.kernel.projects import ProjectManager
from llmos_workers.kernel.workspace import Workspace

DEFAULT = "default"


@click.group()
def projects() -> None:
    """See how many goals are under way, and set how many may be.

    What holds for a project holds for every concurrency key of llmos submit.
    """


@projects.command(name="list")
@json_option
@click.pass_obj
def list_projects(session: Session, as_json: bool) -> int:
    """List projects and busy concurrency keys, with their windows."""
    client = session.client
    folders = ProjectManager(Workspace(session.config.workspace)).list_projects()
    with talking(client.place, "listing projects"):
        scopes = client.token_economy.known_scopes()
        spent_in = [scope.removeprefix("project:") for scope in scopes if scope != "global"]
        found = _admission(session).lanes([*(folder.name for folder in folders), *spent_in])
    if as_json:
        for lane in found:
            emit(_data(lane))
    else:
        print("\n".join(_rows(found)) if found else "no projects.")
    return Exit.SUCCEEDED


@projects.command()
@click.argument("name", shell_complete=offers("projects"))
@click.argument("most", metavar=f"[N|{DEFAULT}]", required=False)
@json_option
@click.pass_obj
def window(session: Session, name: str, most: str | None, as_json: bool) -> int:
    r"""Let at most N goals of project NAME be under way at once.

    Without N it tells how many may.

    1 makes them run one after the other; "default" goes back to kernel.project_window.

    \b
    llmos projects window reports 1
    llmos projects window reports default
    """
    admission = _admission(session)
    with talking(session.client.place, f"setting the window of {name}"):
        if most is not None:
            admission.set_window(name, _number(most))
        (lane,) = (lane for lane in admission.lanes([name]) if lane.name == name)
    if as_json:
        emit(_data(lane))
    else:
        whose = "its own" if lane.own else "the default"
        print(printable(f"{name}: window {lane.window} ({whose})."))
    return Exit.SUCCEEDED


def _number(most: str) -> int | None:
    if most == DEFAULT:
        return None
    if not most.isdecimal():
        raise InvalidOption(f"a window is a number or {DEFAULT!r}, not {most!r:.60}.")
    return int(most)


def _admission(session: Session) -> Admission:
    client = session.client
    most = session.config.kernel.project_window
    return Admission(client.redis, client.broker, client.goals, window=most)


def _data(lane: Lane) -> dict[str, object]:
    return {
        "project": lane.name,
        "window": lane.window,
        "own": lane.own,
        "under_way": lane.under_way,
        "waiting": lane.waiting,
    }


def _rows(found: Sequence[Lane]) -> list[str]:
    rows = [("PROJECT", "WINDOW", "UNDER WAY", "WAITING")]
    for lane in found:
        window = f"{lane.window}{'' if lane.own else ' (default)'}"
        rows.append((lane.name, window, str(lane.under_way), str(lane.waiting)))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        printable("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
        for row in rows
    ]
