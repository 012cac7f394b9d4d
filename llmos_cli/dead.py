"""``llmos dead``: goals that were given up after too many starts."""

from __future__ import annotations

from collections.abc import Sequence

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import limit_option, offers, project_option
from llmos_cli.output import data_of, emit, json_option
from llmos_cli.render import event_line, goals_table, printable, record_data, record_lines
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import UsageError
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.kernel.dead import DeadLetters

LAST_EVENTS = 1_000

all_option = click.option("--all", "everything", is_flag=True, help="All that the list shows.")


@click.group()
def dead() -> None:
    """See to goals that were given up (DEAD).

    Too many of their runs died without an end.
    """


@dead.command(name="list")
@project_option("Only goals of this project.")
@limit_option("Most goals to show.", 10_000)
@json_option
@click.pass_obj
def list_dead(session: Session, project: str | None, limit: int, as_json: bool) -> int:
    """List dead goals that nobody retried or dropped, newest first."""
    with talking(session.client.place, "listing dead goals"):
        records = _letters(session).list(project=project, limit=limit)
    if as_json:
        for record in records:
            emit(record_data(record))
    else:
        print("\n".join(goals_table(records)) if records else "no dead goals.")
    return Exit.SUCCEEDED


@dead.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("dead"))
@json_option
@click.pass_obj
def show(session: Session, goal_id: str, as_json: bool) -> int:
    """Tell why goal ID was given up, and what it did before."""
    with talking(session.client.place, f"asking about goal {goal_id}"):
        record = _letters(session).show(goal_id)
        events = session.client.goals.events(goal_id, count=LAST_EVENTS)
    if as_json:
        told = [data_of(event) for event in events]
        emit(record_data(record) | {"events": told})
        return Exit.SUCCEEDED
    print("\n".join([*record_lines(record), *_why(record)]))
    print("\n".join(line for line in map(event_line, events) if line))
    return Exit.SUCCEEDED


@dead.command()
@click.argument("goal_ids", metavar="[ID]...", nargs=-1, shell_complete=offers("dead"))
@all_option
@json_option
@click.pass_obj
def retry(session: Session, goal_ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Submit goals again, as new ones.

    They name the old ones as retry_of in their metadata.
    """
    letters = _letters(session)
    for goal_id in _chosen(session, goal_ids, everything=everything):
        with talking(session.client.place, f"retrying goal {goal_id}"):
            again = letters.retry(goal_id)
        if as_json:
            emit({"goal_id": again.goal_id, "retry_of": goal_id})
        else:
            print(f"goal {again.goal_id} retries {goal_id}.")
    return Exit.SUCCEEDED


@dead.command()
@click.argument("goal_ids", metavar="[ID]...", nargs=-1, shell_complete=offers("dead"))
@all_option
@json_option
@click.pass_obj
def drop(session: Session, goal_ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Take goals off the list for good.

    Their records stay until their retention is over.
    """
    letters = _letters(session)
    for goal_id in _chosen(session, goal_ids, everything=everything):
        with talking(session.client.place, f"dropping goal {goal_id}"):
            dropped = letters.drop(goal_id)
        if as_json:
            emit({"goal_id": goal_id, "dropped": dropped})
        else:
            print(f"goal {goal_id} " + ("is dropped." if dropped else "was off the list already."))
    return Exit.SUCCEEDED


def _why(record: GoalRecord) -> list[str]:
    error = record.outcome.error if record.outcome else None
    if error is None:
        return []
    fix = [f"fix:      {printable(error.fix)}"] if error.fix else []
    return [f"error:    {printable(error.message)}", *fix]


def _letters(session: Session) -> DeadLetters:
    client = session.client
    return DeadLetters(client.redis, client.broker, client.goals, client.clock)


def _chosen(session: Session, goal_ids: Sequence[str], *, everything: bool) -> Sequence[str]:
    """The ids that were named, or all. Raises UsageError unless it is one of both."""
    if everything == bool(goal_ids):
        raise UsageError("name the goals, or say --all.", fix="See llmos dead list.")
    if goal_ids:
        return goal_ids
    with talking(session.client.place, "listing dead goals"):
        return [record.goal_id for record in _letters(session).list(limit=10_000)]
