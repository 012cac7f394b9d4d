"""``llmos improve``: what the system could do better, and a person's word on it."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import project_option
from llmos_cli.output import emit_each, json_option, say
from llmos_cli.render import printable
from llmos_workers.client_connect import talking

_project = project_option("Whose work.", default="default")


@click.group()
def improve() -> None:
    """See what llmos could do better, and have it done."""


@improve.command(name="list")
@_project
@click.option("--all", "everything", is_flag=True, help="Also what was applied or dismissed.")
@json_option
@click.pass_obj
def list_improvements(session: Session, project: str, everything: bool, as_json: bool) -> int:
    """List what upkeep found by counting, most urgent first."""
    from llmos_workers.flow.improve import as_data, improvements

    with talking(session.client.place, "reading suggestions"):
        found = improvements(session.client.redis, project)
    shown = [each for each in found if everything or each.state in ("open", "wanted")]
    if as_json:
        emit_each(as_data(each) for each in shown)
        return Exit.SUCCEEDED
    for each in shown:
        by = "" if each.applicable else " (for people)"
        said = f"\n          {each.state}: {each.result}" if each.result else ""
        line = f"{each.key}  {each.suggestion.type}{by}: {each.suggestion.description}{said}"
        print(printable(line))
    if not shown:
        print("nothing to improve was found.")
    return Exit.SUCCEEDED


@improve.command()
@click.argument("key")
@_project
@json_option
@click.pass_obj
def apply(session: Session, key: str, project: str, as_json: bool) -> int:
    """Have upkeep apply the suggestion KEY.

    Compile a trace, remove unused ones, draft an agent.
    """
    from llmos_workers.contracts.errors import InvalidOption
    from llmos_workers.flow.improve import as_data, decide, improvements

    with talking(session.client.place, "applying a suggestion"):
        known = {each.key: each for each in improvements(session.client.redis, project)}
        if key in known and not known[key].applicable:
            raise InvalidOption(
                f"{known[key].suggestion.type} is for people to do.", fix="See llmos improve list."
            )
        kept = decide(session.client.redis, project, key, apply=True)
    say(as_data(kept), f"upkeep applies {key}; see llmos improve list.", as_json=as_json)
    return Exit.SUCCEEDED


@improve.command()
@click.argument("key")
@_project
@json_option
@click.pass_obj
def dismiss(session: Session, key: str, project: str, as_json: bool) -> int:
    """Dismiss the suggestion KEY for good."""
    from llmos_workers.flow.improve import as_data, decide

    with talking(session.client.place, "dismissing a suggestion"):
        kept = decide(session.client.redis, project, key, apply=False)
    say(as_data(kept), f"{key} is dismissed.", as_json=as_json)
    return Exit.SUCCEEDED
