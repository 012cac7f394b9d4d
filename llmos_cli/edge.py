"""``llmos edge export | runner | import``: what was learned, on devices and back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option, moment, say
from llmos_cli.progress import at_work
from llmos_cli.render import printable, short
from llmos_workers.contracts.errors import InvalidOption, WorkspaceUnwritable

if TYPE_CHECKING:
    from llmos_workers.learning.edge_bundle import Bundle


@click.group()
def edge() -> None:
    """Follow on devices what was learned here.

    Needs the workspace on this machine. A device needs Python 3.9 and nothing else.
    """


@edge.command()
@project_option("Whose traces.", default="default")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The bundle."
)
@click.option(
    "--tool",
    "tools",
    multiple=True,
    help="A tool that the bundle allows besides Read, Write, Edit.",
)
@click.option(
    "--command", "commands", multiple=True, help="A program that Bash may run on devices."
)
@click.option("--days", default=90, type=click.IntRange(1, 3650), help="Until it expires.")
@json_option
@click.pass_obj
def export(
    session: Session,
    /,
    *,
    project: str,
    out: Path,
    tools: tuple[str, ...],
    commands: tuple[str, ...],
    days: int,
    as_json: bool,
) -> int:
    """Write a signed bundle of the project's proved traces."""
    from llmos_workers.kernel.project_settings import ProjectFiles
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.edge_bundle import Allowed, write_bundle

    client = session.client
    with at_work(client, "reading the traces", quiet=as_json) as watch:
        client.trace_manager.scan(watch)
        traces = client.trace_manager.list(project)
        counter = client.edge_counters.next(project)
    bounds = ProjectFiles(Workspace(session.config.workspace)).of(project).bounds
    named = ("Read", "Write", "Edit", *tools, *(("Bash",) if commands else ()))
    bundle = write_bundle(
        traces,
        client.keys,
        Allowed(tools=set(named), commands=commands, bounds=bounds),
        project=project,
        now=client.clock.now(),
        counter=counter,
        days=days,
    )
    try:
        out.write_bytes(bundle.data)
    except OSError as error:
        raise WorkspaceUnwritable(f"{out} cannot be written: {error.strerror}.") from None
    _tell(bundle, out, as_json=as_json)
    return Exit.SUCCEEDED


@edge.command()
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--agentic", is_flag=True, help="With the follower that asks a local model.")
@json_option
def runner(folder: Path, *, agentic: bool, as_json: bool) -> int:
    """Copy run_follower.py, which a device needs, into FOLDER."""
    source = Path(__file__).resolve().parents[1] / "edge_runtime"
    names = ["run_follower.py", *(["run_agentic_follower.py"] if agentic else [])]
    for name in names:
        if not (source / name).is_file():
            raise InvalidOption("the runner is not part of this installation.")
        shutil.copyfile(source / name, folder / name)
    files = [str(folder / name) for name in names]
    say({"file": files[0], "files": files}, printable("\n".join(files)), as_json=as_json)
    return Exit.SUCCEEDED


@edge.command(name="import")
@click.argument("file", metavar="FILE", shell_complete=offers("files"))
@project_option("Store it in this project, not the bundle's.")
@json_option
@click.pass_obj
def import_(session: Session, file: str, project: str | None, as_json: bool) -> int:
    """Bring back what a device recorded in FILE (- is stdin).

    It did so with --record.
    Goals that are not known yet become traces that are neither proved nor approved.
    """
    from llmos_cli.traces_packs import read_limited
    from llmos_workers.contracts.goal import check_project_name
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.edge_runs import MAX_BYTES, read_runs, trace_of
    from llmos_workers.learning.signature import goal_signature

    manager = session.client.trace_manager
    runs = read_runs(read_limited(file, MAX_BYTES), file)
    for name in {project or run.bundle.project for run in runs}:
        check_project_name(name)
    Workspace(session.config.workspace).ensure()
    done = [run for run in runs if run.ok]
    stored = []
    with at_work(session.client, "storing the runs", quiet=as_json) as watch:
        manager.scan(watch)
        for run in watch("storing the runs", done):
            into = project or run.bundle.project
            signature = goal_signature(run.goal)
            if manager.get(into, signature) or manager.find_exact(into, signature):
                continue
            trace = trace_of(run, into, manager.get(into, run.trace_id or ""))
            stored.append(manager.save_imported(trace, vouched=False))
    told = {
        "runs": len(runs),
        "stored": len(stored),
        "known": len(done) - len(stored),
        "refused": len(runs) - len(done),
        "traces": [trace.trace_id for trace in stored],
    }
    if as_json:
        emit(told)
        return Exit.SUCCEEDED
    print(f"{len(stored)} traces stored of {len(runs)} runs; {told['known']} were of known goals, "
          f"{told['refused']} did not get to their end.")  # fmt: skip
    if stored:
        print("they wait for approval: llmos traces approve ID, or --all.")
    for trace in stored:
        print(printable(f"    {trace.trace_id}  {short(trace.goal_text)}"))
    for run in runs:
        if not run.ok:
            print(printable(f"not done: {short(run.goal)}: {short(run.refused)}"))
    return Exit.SUCCEEDED


def _tell(bundle: Bundle, out: Path, *, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        told = {name: value for name, value in manifest.items() if name != "items"}
        ids = [item["id"] for item in manifest["items"]]
        told |= {name: moment(told[name]) for name in ("made_at", "expires_at")}
        emit(told | {"file": str(out), "traces": ids, "left_out": bundle.left_out})
        return
    print(printable(f"{len(manifest['items'])} traces in {out}, bundle {manifest['counter']}"))
    print(printable(f"key for the device: {manifest['key']}"))
    for trace_id, why in bundle.left_out.items():
        print(printable(f"left out {trace_id}: {short(why)}"))
