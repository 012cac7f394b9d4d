"""``llmos backup FILE`` and ``llmos restore FILE``: all that a system knows, in one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import json_option, say
from llmos_cli.progress import working
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel.redis import Client, connect


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--private-key", is_flag=True, help="Also the key that signs traces; keep it safe.")
@click.option("--no-output", is_flag=True, help="Without the projects' files.")
@json_option
@click.pass_obj
def backup(session: Session, file: Path, private_key: bool, no_output: bool, as_json: bool) -> int:
    """Write all that the system knows to one file.

    Goals, money, traces, agents, memory and the projects' files. The system may be at work. Redis
    is read at one instant, files right after it.
    """
    from llmos_workers.kernel.backup import write_backup
    from llmos_workers.kernel.backup_files import Chosen

    chosen = Chosen(private_key=private_key, output=not no_output)
    workspace = session.config.workspace.absolute()
    if session.config.redis.url is None and not workspace.is_dir():
        raise InvalidOption(
            f"there is nothing to back up: no workspace {workspace}, and redis.url is not set.",
            fix="Name the workspace with --workspace, or go to the folder that llmos up ran in.",
        )
    with _state(session) as client, working("copying the data", quiet=as_json) as watch:
        made = write_backup(file, client, workspace, chosen=chosen, watch=watch)
    size = file.stat().st_size
    told = {
        "file": str(file), "bytes": size, "keys": made.keys, "files": made.files,
        "schema": made.schema_version, "private_key": made.private_key, "output": made.output,
    }  # fmt: skip
    words = f"{file}: {made.keys} keys, {made.files} files, {size:,} bytes."
    if not private_key:
        words += " Without the signing key (--private-key)."
    say(told, words, as_json=as_json)
    return Exit.SUCCEEDED


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Only read it whole, and say whether it is sound.")
@click.option("--force", is_flag=True, help="Replace what is there: keys of Redis are removed, "
              "files put aside in state/before-restore.")  # fmt: skip
@json_option
@click.pass_obj
def restore(session: Session, file: Path, check: bool, force: bool, as_json: bool) -> int:
    """Bring back what such a file holds.

    Into a system without workers at work. Every part is checked before anything is written. Goals
    that were under way go on when workers start; the index is built anew by them.
    """
    from llmos_workers.kernel.restore import restore_backup, verify
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.outbox import IndexOutbox

    if check:
        with working("checking the backup", quiet=as_json) as watch:
            found = verify(file, watch)
        told = {"file": str(file), "sound": True, "made_at": found.created_at,
                "keys": found.keys, "files": found.files, "release": found.release}  # fmt: skip
        words = f"{file} is sound: {found.keys} keys, {found.files} files, {found.created_at}."
        say(told, words, as_json=as_json)
        return Exit.SUCCEEDED
    workspace = Workspace(session.config.workspace)
    with _state(session) as client, working("bringing the data back", quiet=as_json) as watch:
        done = restore_backup(file, client, workspace, force=force, watch=watch)
        IndexOutbox(client).order_rebuild()
    aside = str(done.aside) if done.aside else None
    told = {"file": str(file), "keys": done.keys, "files": done.files, "put_aside": aside,
            "made_at": done.manifest.created_at}  # fmt: skip
    words = f"{done.keys} keys and {done.files} files of {done.manifest.created_at} are back."
    if aside:
        words += f"\nWhat stood there is in {aside}."
    say(told, words, as_json=as_json)
    return Exit.SUCCEEDED


@contextmanager
def _state(session: Session) -> Iterator[Client]:
    """A client of the system's Redis; of the embedded one, started for it, when none is up."""
    from llmos_workers.embedded.discovery import find_embedded
    from llmos_workers.embedded.server import EmbeddedServer

    config = session.config
    if config.redis.url is not None or find_embedded(config.workspace) is not None:
        with talking(session.client.place, "copying the data"):
            yield session.client.redis
        return
    with (
        EmbeddedServer(config.workspace.absolute() / "state" / "redis") as server,
        connect(config.redis, url=server.url) as client,
    ):
        yield client
