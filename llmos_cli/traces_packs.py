"""``llmos traces export | import``: signed packs, shared between teams."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option
from llmos_cli.progress import at_work
from llmos_cli.render import printable, short
from llmos_cli.traces_find import find, projects_of
from llmos_workers.contracts.errors import (
    InvalidOption,
    PolicyDenied,
    UsageError,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.goal import check_project_name


@click.command(name="export")
@click.argument("file", metavar="FILE", shell_complete=offers("files"))
@click.argument("trace_ids", metavar="[ID]...", nargs=-1, shell_complete=offers("traces"))
@project_option("Only traces of this project.")
@json_option
@click.pass_obj
def export(
    session: Session, file: str, trace_ids: tuple[str, ...], project: str | None, as_json: bool
) -> int:
    """Write traces to the signed pack FILE (- is stdout).

    A trace holds what its goal's files held and its commands said: look at it before you share.
    """
    from llmos_workers.learning.trace_pack import write_pack

    client = session.client
    with at_work(client, "reading the traces", quiet=as_json) as watch:
        client.trace_manager.scan(watch)
        if trace_ids:
            found = [find(session, trace_id, project, watch) for trace_id in trace_ids]
        else:
            names = projects_of(session, project)
            found = [trace for name in names for trace in client.trace_manager.list(name)]
    data = write_pack(found, client.keys)
    if file == "-":
        if as_json:
            raise UsageError("the pack itself goes to stdout.", fix="Name a file, or omit --json.")
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return Exit.SUCCEEDED
    try:
        Path(file).write_bytes(data)
    except OSError as error:
        raise WorkspaceUnwritable(f"{file} cannot be written: {error.strerror}.") from error
    told = {"file": file, "traces": len(found), "bytes": len(data),
            "key_id": client.keys.own().key_id}  # fmt: skip
    if as_json:
        emit(told)
    else:
        print(printable(f"{len(found)} traces in {file}, signed by {told['key_id']}."))
    return Exit.SUCCEEDED


@click.command(name="import")
@click.argument("file", metavar="FILE", shell_complete=offers("files"))
@project_option("Store all of it in this project.")
@click.option("--trust", is_flag=True, help="Trust the pack's key from now on.")
@click.option(
    "--unapproved",
    is_flag=True,
    help="With a key that is not trusted: store the traces to be approved one by one.",
)
@click.option("--replace", is_flag=True, help="Make them new versions of traces that are there.")
@json_option
@click.pass_obj
def import_(
    session: Session, /, *, file: str, project: str | None, trust: bool, unapproved: bool,
    replace: bool, as_json: bool,
) -> int:  # fmt: skip
    """Store the traces of the pack FILE (- is stdin).

    Only if its key is trusted.

    They are not proved here: each first helps a model, and is followed once a run that was
    watched has shown that it does the same in this workspace.
    """
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.trace_pack import MAX_BYTES, as_imported, read_pack

    client, manager = session.client, session.client.trace_manager
    if project is not None:
        check_project_name(project)
    pack = read_pack(read_limited(file, MAX_BYTES), client.keys, file)
    if not pack.trusted and not trust and not unapproved:
        raise PolicyDenied(
            f"the pack is signed by the key {pack.key.key_id}, which is not trusted here: "
            f"{pack.key.text}",
            fix="Check with its owner that it is theirs, then use --trust, or --unapproved.",
        )
    if trust and not pack.trusted:
        client.keys.trust(pack.key)
    Workspace(session.config.workspace).ensure()
    vouched, stored, known = pack.trusted or trust, 0, 0
    with at_work(client, "storing the traces", quiet=as_json) as watch:
        manager.scan(watch)
        for one in watch("storing the traces", pack.traces):
            trace = as_imported(one, pack, project)
            there = manager.get(trace.project, trace.trace_id)
            if there is not None and (not replace or there.pinned):
                known += 1
                continue
            stored += 1
            manager.save_imported(trace, vouched=vouched)
    told = {"stored": stored, "known": known, "key_id": pack.key.key_id, "approved": vouched}
    if as_json:
        emit(told)
        return Exit.SUCCEEDED
    print(f"{stored} traces stored, {known} were there already (--replace makes new versions).")
    if stored and not vouched:
        print("they wait for approval: llmos traces approve ID, or --all.")
    for trace in pack.traces:
        print(printable(f"    {trace.trace_id}  {short(trace.goal_text)}"))
    return Exit.SUCCEEDED


def read_limited(file: str, limit: int) -> bytes:
    """Content of a regular file or of stdin, at most a byte more than ``limit``."""
    if file == "-":
        return sys.stdin.buffer.read(limit + 1)
    path = Path(file)
    try:
        if not path.is_file():
            raise InvalidOption(f"{file} is not a file.", fix="Name a file, or - for stdin.")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as opened:
            return opened.read(limit + 1)
    except OSError as error:
        raise InvalidOption(f"{file} cannot be read: {error.strerror}.") from error
