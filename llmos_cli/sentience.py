"""``llmos sentience``: the internal state of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import confirm, limit_option, project_option, yes_option
from llmos_cli.output import data_of, emit, emit_each, json_option, say
from llmos_cli.render import printable
from llmos_workers.client_connect import talking
from llmos_workers.contracts.base import MICRO_PER_USD
from llmos_workers.contracts.state import TriggerType

_project = project_option("Whose state.", default="default")


@click.group()
def sentience() -> None:
    """Show, plot, move and reset the internal state."""


@sentience.command()
@_project
@click.option("--self", "whole", is_flag=True, help="Also what it can do, and what it is at.")
@json_option
@click.pass_obj
def show(session: Session, project: str, whole: bool, as_json: bool) -> int:
    """Show values, how they went, and the mode that follows from them."""
    from llmos_cli.sentience_render import state_lines
    from llmos_workers.runtime_self import model_of, workspace_of
    from llmos_workers.sentience.self_model import self_block

    client = session.client
    with talking(client.place, "reading the internal state"):
        state = client.sentience.get_state(project)
        history = client.sentience.history(project)
        loader = client.agent_factory.loader
        parts = (client.trace_manager, loader, client.agent_records, client.token_economy)
        model = model_of(project, *parts) if whole else None
        now = workspace_of(project, client.goals, client.token_economy) if whole else None
    if as_json:
        data = data_of(state)
        if model and now:
            data |= {"self_model": _whole(data_of(model)), "workspace": _whole(data_of(now))}
        emit(data)
        return Exit.SUCCEEDED
    print("\n".join(state_lines(state, history)))
    if not session.config.sentience.enable_sentience:
        print("switched off: these are the set points.")
    if model and now:
        print(printable(f"\n{self_block(model, now)}"))
    return Exit.SUCCEEDED


@sentience.command()
@_project
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw it: an SVG.")
@limit_option("Most to show.", 100)
@json_option
@click.pass_obj
def history(session: Session, project: str, plot: Path | None, limit: int, as_json: bool) -> int:
    """List the last states, oldest first, with what moved them."""
    from llmos_cli.sentience_render import history_line, history_svg

    with talking(session.client.place, "reading the internal state"):
        states = session.client.sentience.history(project)
    if plot:
        plot.write_text(history_svg(states), encoding="utf-8")
        told = {"project": project, "file": str(plot), "states": len(states)}
        say(told, printable(f"drawn: {plot}"), as_json=as_json)
        return Exit.SUCCEEDED
    if as_json:
        emit_each(states[-limit:])
        return Exit.SUCCEEDED
    print("\n".join(map(history_line, states[-limit:])) or "nothing has moved it yet.")
    return Exit.SUCCEEDED


@sentience.command()
@click.argument("kind", type=click.Choice([each.value for each in TriggerType]))
@_project
@click.option(
    "--why", default="by hand", show_default=True, metavar="TEXT", help="Reason, for the history."
)
@click.option("--cost", type=float, help="Dollars, for high_cost.")
@click.option("--repeats", type=click.IntRange(1), default=1, help="For task_repetition.")
@json_option
@click.pass_obj
def trigger(
    session: Session, /, *, kind: str, project: str, why: str, cost: float | None, repeats: int,
    as_json: bool,
) -> int:  # fmt: skip
    """Let an event of KIND move the state, as if it had happened."""
    from llmos_cli.sentience_render import state_lines

    with talking(session.client.place, "moving the internal state"):
        state = session.client.sentience.trigger(
            TriggerType(kind), why, project=project, cost_usd=cost, repeats=repeats
        )
    say(state, "\n".join(state_lines(state, [])), as_json=as_json)
    return Exit.SUCCEEDED


@sentience.command()
@_project
@yes_option
@json_option
@click.pass_obj
def reset(session: Session, project: str, yes: bool, as_json: bool) -> int:
    """Begin again at the initial values; the history is forgotten."""
    from llmos_workers.kernel.workspace import Workspace

    if not yes:
        confirm(f"Forget the internal state of {project}?")
    # The file first: upkeep takes it for the truth where Redis has no state.
    snapshot = Workspace(session.config.workspace).peek(project).state / "sentience.json"
    snapshot.unlink(missing_ok=True)
    with talking(session.client.place, "resetting the internal state"):
        session.client.sentience.reset(project)
    say({"project": project, "reset": True}, f"{project} begins again.", as_json=as_json)
    return Exit.SUCCEEDED


def _whole(data: dict[str, Any]) -> dict[str, Any]:
    """The same with its amounts of dollars as whole micro-dollars."""
    told = {}
    for name, value in data.items():
        if isinstance(value, dict):
            told[name] = _whole(value)
        elif name.endswith("_usd"):
            told[name.removesuffix("usd") + "micro"] = round(value * MICRO_PER_USD)
        else:
            told[name] = value
    return told
