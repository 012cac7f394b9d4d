"""``llmos traces pin | unpin | rm | restore | approve | sync``, and ``llmos reindex``."""

from __future__ import annotations

from typing import Any

import click

from llmos_cli import traces_render as render
from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import by_option, confirm, offers, project_option, yes_option
from llmos_cli.output import emit, json_option, say
from llmos_cli.progress import at_work
from llmos_cli.render import printable
from llmos_cli.traces_find import find, projects_of
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import NotThere, UsageError
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.trace_seal import objection, taint_objection


@click.command()
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@project_option("Project of the trace.")
@json_option
@click.pass_obj
def pin(session: Session, trace_id: str, project: str | None, as_json: bool) -> int:
    """Keep trace ID as it is: no run replaces it by a new version.

    It is no licence: what stands against following a trace still does.
    """
    return _pinned(session, trace_id, project, True, as_json=as_json)


@click.command()
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@project_option("Project of the trace.")
@json_option
@click.pass_obj
def unpin(session: Session, trace_id: str, project: str | None, as_json: bool) -> int:
    """Let runs replace trace ID by new versions again."""
    return _pinned(session, trace_id, project, False, as_json=as_json)


@click.command(name="rm")
@click.argument("trace_id", metavar="ID", shell_complete=offers("traces"))
@project_option("Project of the trace.")
@click.option("--purge", is_flag=True, help="Its old versions too: it cannot be restored.")
@yes_option
@json_option
@click.pass_obj
def remove(
    session: Session, /, *, trace_id: str, project: str | None, purge: bool, yes: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Forget trace ID: its file, its record and its place in the index.

    Its content goes to its history, from where llmos traces restore brings it back.
    """
    with talking(session.client.place, "removing a trace"):
        trace = find(session, trace_id, project)
        if not yes:
            confirm(f"Forget {trace.trace_id} ({trace.goal_text!r})?")
        session.client.trace_manager.remove(trace.project, trace.trace_id, purge=purge)
    if as_json:
        return _said(trace, "removed", as_json=True, purged=purge)
    print(f"{trace.trace_id} is forgotten.")
    if not purge:
        name = f"{trace.trace_id} --project {trace.project} --version {trace.version}"
        print(f"back with: llmos traces restore {name}")
    return Exit.SUCCEEDED


@click.command()
@click.argument("trace_id", metavar="ID")
@click.option("--version", type=int, required=True, metavar="N", help="The version to bring back.")
@project_option("Project of the trace.", default="default")
@json_option
@click.pass_obj
def restore(session: Session, trace_id: str, version: int, project: str, as_json: bool) -> int:
    """Make an old version of trace ID, removed or not, the newest one. The whole id is needed."""
    with talking(session.client.place, "restoring a trace"):
        found = session.client.trace_manager.restore(project, trace_id, version)
    if found is None:
        raise NotThere(
            f"version {version} of trace {trace_id} is not kept in project {project}.",
            fix=f"See: llmos traces history {trace_id}, and --project.",
        )
    return _said(found, f"restored as version {found.version}", as_json=as_json)


def _waits(trace: ExecutionTrace) -> bool:
    """Whether a trace waits for a person."""
    return bool(objection(trace) or taint_objection(trace))


@click.command()
@click.argument("trace_ids", metavar="[ID]...", nargs=-1, shell_complete=offers("traces"))
@project_option("Project of the trace.")
@click.option("--all", "everything", is_flag=True, help="All that wait, of --project or of all.")
@click.option("--yes", is_flag=True, help="Do not show and ask.")
@by_option("Who does it")
@json_option
@click.pass_obj
def approve(
    session: Session, /, *, trace_ids: tuple[str, ...], project: str | None, everything: bool,
    yes: bool, by: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Vouch for traces as they stand: sign them.

    For those that were edited by hand, imported, or learned by a run that read content from
    outside. Before that they are not followed, and edited and imported ones not shown to a model.
    """
    from llmos_workers.kernel.approvals import who

    if bool(trace_ids) == everything:
        raise UsageError("name traces, or say --all.", fix="See: llmos traces list.")
    manager, by = session.client.trace_manager, by or who()
    with talking(session.client.place, "approving traces"):
        if everything:
            manager.scan()
            names = projects_of(session, project)
            found = [trace for name in names for trace in manager.list(name) if _waits(trace)]
        else:
            found = [find(session, trace_id, project) for trace_id in trace_ids]
        for trace in found:
            if _waits(trace) and not yes:
                click.echo("\n".join(render.shown(trace, ())), err=True)
                confirm("Approve it as it stands?")
            done = manager.approve(trace.project, trace.trace_id, by=by)
            _said(trace, "approved" if done else "was signed already", as_json=as_json, by=by)
    if not found and not as_json:
        print("nothing waits for approval.")
    return Exit.SUCCEEDED


@click.command()
@click.option("--reindex", "rebuild", is_flag=True, help="Also build the index anew.")
@json_option
@click.pass_obj
def sync(session: Session, rebuild: bool, as_json: bool) -> int:
    """Bring files, Redis and index in line now.

    Workers do the same every minute.

    Edited, new and deleted files are read; counters go into the files. The index follows with
    the next goal that is dispatched.
    """
    manager = session.client.trace_manager
    with at_work(session.client, "bringing the traces in line", quiet=as_json) as watch:
        found = manager.scan(watch)
        flushed = manager.flush_counters()
        if rebuild:
            _order_rebuild(session)
    told = {
        "added": found.added, "changed": found.changed, "removed": found.removed,
        "flushed": flushed, "problems": [str(fault) for fault in manager.problems()],
        "reindex": rebuild,
    }  # fmt: skip
    if as_json:
        emit(told)
    else:
        print(f"{found.added} added, {found.changed} changed, {found.removed} removed, "
              f"{flushed} counters written, {found.problems} unreadable")  # fmt: skip
        print(printable("\n".join(f"unreadable: {fault}" for fault in manager.problems())), end="")
    return Exit.FAILED if found.problems else Exit.SUCCEEDED


@click.command()
@json_option
@click.pass_obj
def reindex(session: Session, as_json: bool) -> int:
    """Build the vector index anew from the traces.

    The dispatch workers own the index: the order waits for them and is done before the next
    goal is matched.
    """
    with at_work(session.client, "ordering a new index", quiet=as_json) as watch:
        session.client.trace_manager.scan(watch)
        _order_rebuild(session)
    say({"ordered": True}, "ordered: the dispatch workers do it next.", as_json=as_json)
    return Exit.SUCCEEDED


def _order_rebuild(session: Session) -> None:
    from llmos_workers.learning.outbox import IndexOutbox

    IndexOutbox(session.client.redis).order_rebuild()


def _pinned(
    session: Session, trace_id: str, project: str | None, pinned: bool, *, as_json: bool
) -> int:
    with at_work(session.client, "changing a trace", quiet=as_json) as watch:
        trace = find(session, trace_id, project, watch)
        changed = session.client.trace_manager.pin(trace.project, trace.trace_id, pinned)
    state = "pinned" if pinned else "not pinned"
    return _said(trace, state if changed else f"{state} already", as_json=as_json)


def _said(trace: ExecutionTrace, what: str, *, as_json: bool, **more: Any) -> int:
    if as_json:
        told = {"project": trace.project, "trace_id": trace.trace_id, "what": what}
        emit(told | more)
    else:
        print(printable(f"{trace.trace_id}: {what}."))
    return Exit.SUCCEEDED
