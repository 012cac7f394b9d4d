"""``llmos traces verify``."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option, say
from llmos_cli.progress import at_work
from llmos_cli.render import printable
from llmos_cli.traces_find import find, projects_of


@click.command()
@click.argument("trace_ids", metavar="[ID]...", nargs=-1, shell_complete=offers("traces"))
@project_option("Only traces of this project.")
@json_option
@click.pass_obj
def verify(session: Session, trace_ids: tuple[str, ...], project: str | None, as_json: bool) -> int:
    """Check signature, form, tools, inputs and outputs of traces.

    Exits with 1 when any has a fault.
    """
    from llmos_workers.execution.tools.registry import ToolRegistry
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.trace_check import check_trace

    manager, workspace = session.client.trace_manager, Workspace(session.config.workspace)
    versions = ToolRegistry.builtin().versions()
    with at_work(session.client, "checking the traces", quiet=as_json) as watch:
        manager.scan(watch)
        if trace_ids:
            found = [find(session, trace_id, project, watch) for trace_id in trace_ids]
        else:
            found = [t for name in projects_of(session, project) for t in manager.list(name)]
        unreadable = [] if trace_ids else [str(fault) for fault in manager.problems()]
        checked = [
            (trace, check_trace(trace, workspace.peek(trace.project).output, versions))
            for trace in watch("checking the traces", found)
        ]
    faulty = 0
    for trace, findings in checked:
        faults = [one.text for one in findings if one.fault]
        notes = [one.text for one in findings if not one.fault]
        faulty += bool(faults)
        if as_json:
            emit({"project": trace.project, "trace_id": trace.trace_id,
                           "ok": not faults, "faults": faults, "notes": notes})  # fmt: skip
            continue
        print(printable(f"{trace.trace_id}  {'fault' if faults else 'ok'}  {trace.goal_text}"))
        print(printable("".join(f"    {text}\n" for text in (*faults, *notes))), end="")
    for fault in unreadable:
        told = {"project": None, "trace_id": None, "ok": False, "faults": [fault], "notes": []}
        say(told, printable(f"unreadable: {fault}"), as_json=as_json)
    if not as_json:
        print(f"{len(found)} traces, {faulty} with faults, {len(unreadable)} unreadable.")
    return Exit.FAILED if faulty or unreadable else Exit.SUCCEEDED
