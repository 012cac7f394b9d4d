"""``llmos feedback``: a person's word on a goal that has ended."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import by_option, offers
from llmos_cli.output import emit, json_option
from llmos_cli.render import printable


@click.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("goals"))
@click.argument("verdict", metavar="good|bad", type=click.Choice(["good", "bad"]))
@click.option("--why", default="", metavar="TEXT", help="Why, for the record.")
@by_option("Who says so")
@json_option
@click.pass_obj
def feedback(
    session: Session, /, *, goal_id: str, verdict: str, why: str, by: str | None, as_json: bool
) -> int:
    """Say whether goal ID was done as it was meant: good or bad.

    Bad: its wording never again follows the trace it followed, and that trace is trusted less.
    Good: its wording is known from now on, and the trace is trusted more.
    """
    said = session.client.feedback(goal_id, verdict, why=why, by=by)
    if as_json:
        emit(said)
    elif said.applied:
        print(printable(f"{verdict}: {said.told}."))
    else:
        print(f"{verdict}: on record; the next worker of the dispatch role acts on it.")
    return Exit.SUCCEEDED
