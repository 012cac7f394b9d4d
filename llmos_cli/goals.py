"""``llmos status | watch | result | list | cancel``: goals that were submitted before."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit, exit_of
from llmos_cli.options import limit_option, offers, project_option, timeout_option
from llmos_cli.output import emit, json_option
from llmos_cli.render import goals_table, record_data, record_lines
from llmos_cli.waiting import tell, told_waiting, wait
from llmos_workers.contracts.errors import NotFinished
from llmos_workers.contracts.goal import GoalState


@click.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("goals"))
@json_option
@click.pass_obj
def status(session: Session, goal_id: str, as_json: bool) -> int:
    """Tell where goal ID is: state, mode and why, worker, result."""
    record = session.client.get(goal_id).record()
    if as_json:
        emit(record_data(record))
    else:
        print("\n".join(record_lines(record)))
    return Exit.SUCCEEDED


@click.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("goals"))
@click.option("--after", default="0-0", metavar="EVENT", help="Only events after this event id.")
@timeout_option("Leave after so long (exit 8); the goal goes on.")
@json_option
@click.pass_obj
def watch(session: Session, goal_id: str, after: str, timeout: float | None, as_json: bool) -> int:
    """Join goal ID from its first event on and follow it to its end.

    Exits as submit does. Ctrl-C ends the watching, not the goal.
    """
    handle = session.client.get(goal_id)
    if not as_json:
        return wait(
            session.client,
            handle,
            title=handle.record().text,
            timeout=timeout,
            after=_event_id(after),
        )
    for event in handle.events(_event_id(after), timeout):
        emit(event)
    outcome = handle.result(0)
    tell(outcome, as_json=True)
    return exit_of(outcome)


@click.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("goals"))
@click.option("--wait/--no-wait", "waits", help="Wait for the outcome if there is none yet.")
@timeout_option("With --wait: leave after so long (exit 8).")
@json_option
@click.pass_obj
def result(
    session: Session, goal_id: str, waits: bool, timeout: float | None, as_json: bool
) -> int:
    """Print the outcome of goal ID. Exits as submit does; 8 when it is not finished."""
    handle = session.client.get(goal_id)
    if waits:
        return wait(session.client, handle, as_json=as_json, timeout=timeout, quiet=True)
    outcome = handle.outcome()
    if outcome is not None:
        tell(outcome, as_json=as_json)
        return exit_of(outcome)
    state = handle.status()
    if state is GoalState.WAITING_APPROVAL:
        return told_waiting(handle, as_json=as_json)
    raise NotFinished(
        f"goal {goal_id} is {state}, not finished.", fix=f"Follow it: llmos watch {goal_id}"
    )


@click.command(name="list")
@project_option("Only goals of this project.")
@click.option("--state", shell_complete=offers("states"),
              help="Only goals in this state, e.g. running, failed, waiting_approval.")  # fmt: skip
@limit_option("Most goals to show.", 10_000)
@json_option
@click.pass_obj
def list_goals(
    session: Session, project: str | None, state: str | None, limit: int, as_json: bool
) -> int:
    """List goals, newest first."""
    records = session.client.list(project=project, state=state, limit=limit)
    if as_json:
        for record in records:
            emit(record_data(record))
    else:
        print("\n".join(goals_table(records)) if records else "no goals.")
    return Exit.SUCCEEDED


@click.command()
@click.argument("goal_id", metavar="ID", shell_complete=offers("live"))
@json_option
@click.pass_obj
def cancel(session: Session, goal_id: str, as_json: bool) -> int:
    """Stop goal ID. At once when no worker runs it, else before its next step."""
    state = session.client.cancel(goal_id)
    words = {
        GoalState.CANCELLED: "is cancelled.",
        GoalState.RUNNING: "is running; it stops before its next step.",
    }
    if as_json:
        emit({"goal_id": goal_id, "status": state.value})
    else:
        print(f"goal {goal_id} {words.get(state, f'had already ended: {state}.')}")
    return Exit.SUCCEEDED


def _event_id(text: str) -> str:
    """An event id as Redis writes it. Raises UsageError."""
    milliseconds, _, serial = text.partition("-")
    if not milliseconds.isdecimal() or (serial and not serial.isdecimal()):
        raise click.BadParameter(f"{text!r} is no event id; it looks like 1764000000000-0.")
    return text
