"""``llmos report``: how the goals went, as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import project_option
from llmos_cli.output import json_option, say
from llmos_cli.progress import at_work
from llmos_workers.contracts.errors import InfrastructureError


@click.command()
@click.option("--html", "target", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Where to write the page.")  # fmt: skip
@project_option("Only goals of this project.")
@click.option("--limit", metavar="N", default=10_000, show_default=True,
              type=click.IntRange(1, 1_000_000), help="Most goals, the newest.")  # fmt: skip
@json_option
@click.pass_obj
def report(session: Session, target: Path, project: str | None, limit: int, as_json: bool) -> int:
    """Write one HTML page of how the goals went.

    It needs nothing but itself: cost per goal over time, modes, savings, budget, internal state,
    slowest tools, the fleet. It shows no goal's text.
    """
    from llmos_workers.monitor.figures import look
    from llmos_workers.monitor.history import read_ended
    from llmos_workers.monitor.report import page

    client = session.client
    with at_work(client, "reading the figures", quiet=as_json) as watch:
        ended = read_ended(client.redis, limit=limit, project=project, watch=watch)
        text = page(look(client), ended, now=client.clock.now(), project=project)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(
            f"{target} cannot be written: {error.strerror}.", fix="Name another file."
        ) from error
    told = {"file": str(target), "goals": len(ended)}
    say(told, f"{target}: {len(ended)} goals", as_json=as_json)
    return Exit.SUCCEEDED
