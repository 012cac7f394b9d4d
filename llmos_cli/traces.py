"""``llmos traces``: what has been learned, to look at and to change."""

from __future__ import annotations

import click

from llmos_cli import traces_render as render
from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option, say
from llmos_cli.progress import at_work
from llmos_cli.traces_change import approve, pin, remove, restore, sync, unpin
from llmos_cli.traces_find import find, projects_of
from llmos_cli.traces_packs import export, import_
from llmos_cli.traces_verify import verify
from llmos_workers.contracts.errors import NotThere
from llmos_workers.contracts.trace import ExecutionTrace


@click.group()
def traces() -> None:
    """Look at what has been learned, and change it.

    A trace is named by its id or the beginning of it. Needs the workspace on this machine.
    """


@traces.command(name="list")
@project_option("Only traces of this project.")
@json_option
@click.pass_obj
def list_traces(session: Session, project: str | None, as_json: bool) -> int:
    """List traces, with use, success, savings and what bars them."""
    manager = session.client.trace_manager
    with at_work(session.client, "reading the traces", quiet=as_json) as watch:
        manager.scan(watch)
        names = projects_of(session, project)
        found = [trace for name in names for trace in manager.list(name)]
    if as_json:
        for trace in found:
            emit(render.listed(trace))
    else:
        print("\n".join(render.table(found)) if found else "no traces.")
    return Exit.SUCCEEDED


@traces.command()
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@project_option("Project of the trace.")
@click.option("--version", type=int, metavar="N", help="An old version of it.")
@json_option
@click.pass_obj
def show(
    session: Session, trace_id: str, project: str | None, version: int | None, as_json: bool
) -> int:
    """Show trace ID: slots, inputs, steps, outputs, answer."""
    manager = session.client.trace_manager
    with at_work(session.client, "reading a trace", quiet=as_json) as watch:
        trace = _version(session, find(session, trace_id, project, watch), version)
        older = manager.history.versions(trace.project, trace.trace_id)
    say(render.data(trace), "\n".join(render.shown(trace, older)), as_json=as_json)
    return Exit.SUCCEEDED


@traces.command()
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@project_option("Project of the trace.")
@json_option
@click.pass_obj
def history(session: Session, trace_id: str, project: str | None, as_json: bool) -> int:
    """List what trace ID was before, oldest first, and what it is."""
    manager = session.client.trace_manager
    with at_work(session.client, "reading a trace", quiet=as_json) as watch:
        trace = find(session, trace_id, project, watch)
        older = manager.history.versions(trace.project, trace.trace_id)
    versions = [*(manager.history.read(old) for old in older), trace]
    for at, one in enumerate(versions):
        if as_json:
            emit({
                "version": one.version, "revision": one.revision, "created_at": one.created_at,
                "steps": len(one.steps), "approved_by": one.approved_by,
                "learned_from": one.learned_from, "now": at == len(older),
            })  # fmt: skip
            continue
        mark = "now" if at == len(older) else ""
        by = f"approved by {one.approved_by}" if one.approved_by else f"goal {one.learned_from}"
        print(f"{one.version:>4}  {one.created_at or '?'}  {len(one.steps)} steps  {by}  {mark}")
    return Exit.SUCCEEDED


@traces.command()
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@click.argument("other_id", metavar="[OTHER]", required=False, shell_complete=offers("traces"))
@project_option("Project of the traces.")
@click.option("--from", "before", type=int, metavar="N", help="Version on the left side.")
@click.option("--to", "after", type=int, metavar="N", help="Version on the right side.")
@json_option
@click.pass_obj
def diff(
    session: Session, /, *, trace_id: str, other_id: str | None, project: str | None,
    before: int | None, after: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Show what changed since the version before, or to OTHER."""
    with at_work(session.client, "reading traces", quiet=as_json) as watch:
        trace = find(session, trace_id, project, watch)
        if other_id is not None:
            left = _version(session, trace, before)
            right = _version(session, find(session, other_id, project, watch), after)
        else:
            left = _version(session, trace, before) if before else _previous(session, trace)
            right = _version(session, trace, after)
    lines = render.difference(left, right)
    if as_json:
        emit({"from": left.version, "to": right.version, "diff": lines})
    else:
        print("\n".join(lines) or "they are the same.")
    return Exit.SUCCEEDED


def _version(session: Session, trace: ExecutionTrace, version: int | None) -> ExecutionTrace:
    """The trace, or what its version ``version`` was. Raises NotThere."""
    if version is None or version == trace.version:
        return trace
    history = session.client.trace_manager.history
    old = history.at(trace.project, trace.trace_id, version)
    if old is None:
        raise NotThere(
            f"version {version} of trace {trace.trace_id} is not kept.",
            fix=f"See: llmos traces history {trace.trace_id}.",
        )
    return old


def _previous(session: Session, trace: ExecutionTrace) -> ExecutionTrace:
    history = session.client.trace_manager.history
    older = history.versions(trace.project, trace.trace_id)
    if not older:
        raise NotThere(f"trace {trace.trace_id} was never anything else.")
    return history.read(older[-1])


for command in (pin, unpin, remove, restore, approve, sync, verify, export, import_):
    traces.add_command(command)
