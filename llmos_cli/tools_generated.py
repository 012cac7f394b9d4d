"""``llmos tools generated | disable | rollback | generalize``: tools that traces became."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import by_option, offers, project_option
from llmos_cli.output import data_of, emit, emit_each, json_option, say
from llmos_cli.render import printable
from llmos_workers.client_connect import talking

if TYPE_CHECKING:
    from llmos_workers.flow.crystal_shelf import Shelved
    from llmos_workers.runtime import Runtime


@click.command()
@json_option
@click.pass_obj
def generated(session: Session, as_json: bool) -> int:
    """List the tools that traces were compiled into."""
    from llmos_workers.flow.crystal_shelf import shelf

    with talking(session.client.place, "listing generated tools"):
        tools = shelf(_runtime(session))
    if as_json:
        emit_each(_data(tool) for tool in tools)
        return Exit.SUCCEEDED
    for tool in tools:
        goal = tool.record.goal if tool.record else ""
        why = f"  ({tool.why})" if tool.why else ""
        print(printable(f"{tool.ref:32} {tool.state:10} {goal[:60]}{why[:120]}"))
    if not tools:
        print("no trace has been compiled into a tool.")
    return Exit.SUCCEEDED


def show_generated(session: Session, name: str, *, as_json: bool) -> int | None:
    """Show a generated tool's record and source; None: there is none of that name."""
    from llmos_workers.contracts.errors import NotThere
    from llmos_workers.evolution.generated import GeneratedTools
    from llmos_workers.flow.crystal_shelf import the_tool
    from llmos_workers.kernel.workspace import Workspace

    tools = GeneratedTools(Workspace(session.config.workspace), session.client.keys)
    if not any(name in (ref, ref.rpartition("_")[0]) for ref in tools.refs()):
        return None
    with talking(session.client.place, "showing a generated tool"):
        try:
            tool = the_tool(_runtime(session), name)
        except NotThere:
            return None
    source = (tools.folder / f"{tool.ref}.py").read_text(encoding="utf-8")
    if as_json:
        emit(_data(tool) | {"source": source})
        return Exit.SUCCEEDED
    print(printable(f"{tool.ref}  {tool.state}{f': {tool.why}' if tool.why else ''}"))
    if tool.record is not None:
        record = tool.record
        print(printable(f"made {record.made_at} by {record.made_by} after {record.usage} uses"))
        print(f"proved: {record.recorded} on record, {record.unused} with values no run used")
    print("\n".join(printable(line) for line in source.splitlines()))
    return Exit.SUCCEEDED


@click.command()
@click.argument("name")
@by_option("Who does it")
@json_option
@click.pass_obj
def disable(session: Session, name: str, by: str | None, as_json: bool) -> int:
    """Take the generated tool NAME out of use.

    Its trace is replayed instead.
    """
    from llmos_workers.flow import crystal_shelf
    from llmos_workers.kernel.approvals import who

    with talking(session.client.place, "disabling a tool"):
        tool = crystal_shelf.disable(_runtime(session), name, by=by or who())
    return _said(tool, as_json=as_json)


@click.command()
@click.argument("name")
@click.option(
    "--version", type=int, metavar="N", help="The version to use (default: the last before)."
)
@by_option("Who does it")
@json_option
@click.pass_obj
def rollback(
    session: Session, name: str, version: int | None, by: str | None, as_json: bool
) -> int:
    """Go back to an earlier version of the generated tool NAME.

    Or to the replay of its trace.
    """
    from llmos_workers.flow import crystal_shelf
    from llmos_workers.kernel.approvals import who

    with talking(session.client.place, "rolling a tool back"):
        tool = crystal_shelf.rollback(_runtime(session), name, by=by or who(), version=version)
    if tool is not None:
        return _said(tool, as_json=as_json)
    say({"ref": None}, "no earlier version fits: the trace is replayed.", as_json=as_json)
    return Exit.SUCCEEDED


@click.command()
@click.argument(
    "trace_ids", nargs=-1, required=True, metavar="ID...", shell_complete=offers("traces")
)
@project_option("Project of the traces.", default="default")
@json_option
@click.pass_obj
def generalize(session: Session, trace_ids: tuple[str, ...], project: str, as_json: bool) -> int:
    """Have a model make one tool of several traces; costs money.

    At least three, of one kind.

    What it proposes is proved before it is used; see docs/crystallization.md.
    """
    from llmos_cli.traces_find import find
    from llmos_workers.flow.toolsmith import submit

    with talking(session.client.place, "generalizing traces"):
        family = [find(session, trace_id, project) for trace_id in trace_ids]
        record = submit(_runtime(session), family)
    data = {"goal_id": record.goal_id, "traces": [trace.trace_id for trace in family]}
    say(data, f"submitted: llmos watch {record.goal_id}", as_json=as_json)
    return Exit.SUCCEEDED


def _runtime(session: Session) -> Runtime:
    from llmos_workers.runtime import Runtime

    client = session.client
    return Runtime(
        session.config, redis=client.redis, broker=client.broker, traces=client.trace_manager
    )


def _said(tool: Shelved, *, as_json: bool) -> int:
    why = f" ({tool.why})" if tool.why else ""
    say(_data(tool), printable(f"{tool.ref} is {tool.state}{why}."), as_json=as_json)
    return Exit.SUCCEEDED


def _data(tool: Shelved) -> dict[str, Any]:
    record = data_of(tool.record) if tool.record else None
    return {"ref": tool.ref, "state": tool.state, "why": tool.why, "record": record}
