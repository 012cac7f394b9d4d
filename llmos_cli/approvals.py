"""``llmos approvals | approve | deny``: a person's word for calls that need it."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import by_option, offers, project_option
from llmos_cli.output import emit, json_option
from llmos_cli.render import printable
from llmos_workers.contracts.approvals import Approval, ApprovalState
from llmos_workers.kernel.clock import iso


@click.command()
@project_option("Only requests of this project.")
@click.option("--goal", "goal_id", metavar="ID", shell_complete=offers("goals"),
              help="All requests of this goal, answered ones too.")  # fmt: skip
@json_option
@click.pass_obj
def approvals(session: Session, project: str | None, goal_id: str | None, as_json: bool) -> int:
    r"""Show the calls that wait for a person's yes or no.

    A yes holds for exactly the call that is shown, in that goal, once. Characters that do not
    show are spelled as \u{202E}.
    """
    if goal_id is None:
        found = session.client.approvals(project=project)
    else:
        session.client.get(goal_id)
        requests = session.client.approval_requests.of_goal(goal_id)
        found = [one for one in requests if project in (None, one.project)]
    if as_json:
        for one in found:
            emit(one)
    else:
        print("\n\n".join("\n".join(lines(one)) for one in found) or "no requests for approval.")
    return Exit.SUCCEEDED


@click.command()
@click.argument("approval_id", metavar="ID", shell_complete=offers("approvals"))
@by_option("Who answers")
@click.option("--why", default="", metavar="TEXT", help="Why, for the record.")
@json_option
@click.pass_obj
def approve(session: Session, approval_id: str, by: str | None, why: str, as_json: bool) -> int:
    """Allow the call of request ID, once; its goal goes on.

    Where it asks for money, raise the limit that it shows.
    """
    return _told(session.client.approve(approval_id, by=by, why=why), as_json=as_json)


@click.command()
@click.argument("approval_id", metavar="ID", shell_complete=offers("approvals"))
@click.option("--why", required=True, metavar="TEXT", help="Why; the goal's agent is told.")
@by_option("Who answers")
@json_option
@click.pass_obj
def deny(session: Session, approval_id: str, why: str, by: str | None, as_json: bool) -> int:
    """Forbid the call of request ID; its goal goes on without it."""
    return _told(session.client.deny(approval_id, why=why, by=by), as_json=as_json)


def lines(one: Approval) -> list[str]:
    """A request for people: which, whose, why, until when, and the call."""
    head = [
        f"approval {one.approval_id}  {one.state}",
        f"goal    {one.goal_id} (project {one.project}, step {one.step})",
        f"asked   {iso(one.created_at)}, until {iso(one.expires_at)}",
    ]
    if one.reason or one.rule:
        head.append(f"because {one.reason or '?'} (rule {one.rule or '?'})")
    if one.decided_at is not None:
        head.append(f"answer  {iso(one.decided_at)} by {one.decided_by}")
    if one.why:
        head.append(f"why     {one.why}")
    return [printable(line) for line in (*head, *one.shown.split("\n"))]


def _told(one: Approval, *, as_json: bool) -> int:
    if as_json:
        emit(one)
    elif one.raise_scope and one.state is ApprovalState.USED:
        window = f" for each {one.raise_window}" if one.raise_window else ""
        amount = f"${one.raise_micro / 1e6:.6f}"
        print(f"approved: the limit of {one.raise_scope}{window} is raised by {amount}, "
              f"by {one.decided_by}.")  # fmt: skip
    else:
        print(f"{one.state}: {one.tool} of goal {one.goal_id}, by {one.decided_by}.")
    return Exit.SUCCEEDED
