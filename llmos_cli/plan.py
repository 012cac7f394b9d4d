"""``llmos plan``: how a goal would be split."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit, exit_of
from llmos_cli.options import project_option, timeout_option
from llmos_cli.output import emit, json_option
from llmos_cli.plan_render import drawing, mermaid, plan_lines
from llmos_cli.progress import working
from llmos_cli.render import figures, printable
from llmos_cli.waiting import asking, tell


@click.command()
@click.argument("goal")
@project_option("Project whose known plans count (default: default).")
@click.option("--budget", metavar="USD", help="Plan for a goal that may cost so much, in dollars.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Draw it as a Mermaid flowchart.")
@timeout_option("Leave after so long (default: 300).")
@json_option
@click.pass_obj
def plan(
    session: Session,
    /,
    *,
    goal: str,
    project: str | None,
    budget: str | None,
    as_mermaid: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Show into which parts GOAL would be split.

    And which waits for which. Carries out nothing; a plan that is not known yet costs its planner's
    calls.
    """
    wait_s = 300.0 if timeout is None else timeout
    with asking(session.client), working("waiting for the plan", quiet=as_json):
        outcome = session.client.plan(goal, project=project, budget_usd=budget, timeout=wait_s)
    if outcome.plan is None:
        tell(outcome, as_json=as_json)
        return exit_of(outcome)
    if as_json:
        emit(outcome.plan)
    elif as_mermaid:
        print("\n".join(map(printable, mermaid(outcome.plan.steps))))
    else:
        shown = [*plan_lines(outcome.plan), "", *drawing(outcome.plan.steps), "", figures(outcome)]
        print("\n".join(map(printable, shown)))
    return Exit.SUCCEEDED
