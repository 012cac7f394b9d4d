"""``llmos migrate``: bring what stands in Redis and the workspace to this release's schema."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import json_option, say
from llmos_cli.progress import at_work


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when there is any to do.")
@json_option
@click.pass_obj
def migrate(session: Session, check: bool, as_json: bool) -> int:
    """Bring the data to this release's schema.

    As each worker does when it starts. Refuses data that a newer release made unreadable, and
    steps whose result running workers of an older release could not read.
    """
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.migrations import schema_of

    client = session.client
    with at_work(client, "migrating the data", quiet=as_json) as watch:
        schema = schema_of(client.redis, Workspace(session.config.workspace), client.keys, watch)
        before = schema.check().version
        todo = schema.pending()
        done = [] if check else schema.migrate()
        now = schema.state()
    left = [step for step in todo if check]
    told = {
        "schema": now.version, "own_schema": schema.own, "before": before, "reads": now.reads,
        "done": [{"to": d.step.to, "what": d.step.what, "changed": d.changed} for d in done],
        "todo": [{"to": step.to, "what": step.what} for step in left],
    }  # fmt: skip
    lines = [f"schema {d.step.to}: {d.step.what} ({d.changed} changed)" for d in done]
    lines += [f"to do: schema {step.to}: {step.what}" for step in left]
    lines.append(f"the data has schema {now.version}; this release has {schema.own}.")
    say(told, "\n".join(lines), as_json=as_json)
    return Exit.FAILED if left else Exit.SUCCEEDED
