"""``llmos submit``: one goal, or a file of them."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import click

from llmos_cli.context import Session
from llmos_cli.options import offers, project_option, read_deadline, read_metadata, timeout_option
from llmos_cli.output import json_option, say
from llmos_cli.waiting import wait
from llmos_workers.contracts.errors import InvalidGoal


@click.command()
@click.argument("goal", required=False)
@click.option(
    "--file",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="Goals as JSON lines: a text, or an object with 'goal' and options "
    "(project, mode, agent, budget_usd, idempotency_key, concurrency_key, metadata, "
    "priority, deadline, dry_run, approve_plan, plan_only, traceparent). '-' reads stdin.",
)
@project_option("Project whose folder and traces the goal uses (default: default).")
@click.option(
    "--mode",
    metavar="MODE",
    shell_complete=offers("modes"),
    help="auto (default), follower, mixed, learner, crystallized, orchestrator.",
)
@click.option(
    "--agent",
    metavar="NAME",
    shell_complete=offers("agents"),
    help="Name of the agent that thinks; auto: the one that fits best.",
)
@click.option("--budget", metavar="USD", help="Most this goal may cost, in dollars.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Submitting the same text again under this key gives the same goal.",
)
@click.option(
    "--concurrency-key",
    metavar="KEY",
    help="Goals with the same key take turns (default: the project's name).",
)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Kept with the goal; repeat.")
@click.option(
    "--priority",
    type=click.IntRange(1, 3),
    metavar="1|2|3",
    help="1 goes first, 3 last (default: 2).",
)
@click.option(
    "--deadline",
    metavar="TIME",
    help="No step starts after it: 90s, 10m, 2h or 1d from now, ISO 8601, Unix seconds.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only decide and tell: mode, trace, slots, worst cost, files. Runs nothing.",
)
@click.option(
    "--approve-plan",
    is_flag=True,
    help="A plan of sub-goals waits for a person's yes (llmos approvals).",
)
@click.option(
    "--wait/--no-wait",
    "waits",
    default=True,
    help="Follow the goal to its end (default), or print its id and leave.",
)
@timeout_option("With --wait: leave after so long (exit 8); the goal goes on.")
@json_option
@click.pass_obj
def submit(
    session: Session,
    /,
    *,
    goal: str | None,
    file: BinaryIO | None,
    waits: bool,
    timeout: float | None,
    as_json: bool,
    **said: Any,
) -> int:
    """Hand a GOAL in plain words to the workers and watch it. '-' reads it from stdin.

    Progress goes to stderr, the result to stdout. Exit codes: 0 succeeded, 1 failed, 2 usage,
    3 rejected by budget or policy, 4 waiting for approval, 5 cancelled, 6 infrastructure,
    7 partial, 8 not finished within --timeout; with --file the worst of all goals.
    Ctrl-C ends the waiting, not the goal.

    \b
    llmos submit "Create a Python calculator" --project demo --budget 0.50
    llmos submit --no-wait "Summarize notes.md"
    llmos submit --file goals.jsonl --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    if (goal is None) == (file is None):
        raise click.UsageError("Give one GOAL (in quotes), or --file.")
    options = _options(said)
    if file is not None:
        from llmos_cli.batch import submit_file

        if options["idempotency_key"] is not None:
            raise click.UsageError(
                "--idempotency-key is for one goal; with --file, set it per line."
            )
        return submit_file(
            session.client, file, options, waits=waits, timeout=timeout, as_json=as_json
        )
    text = _stdin_text() if goal == "-" else goal
    handle = session.client.submit(text or "", **options)
    if not waits:
        status = {"goal_id": handle.id, "status": "ACCEPTED", "created": handle.created}
        say(status, handle.id, as_json=as_json)
        return 0
    return wait(session.client, handle, title=text or "", as_json=as_json, timeout=timeout)


def _options(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "project": said["project"],
        "mode": said["mode"],
        "agent": said["agent"],
        "budget_usd": said["budget"],
        "idempotency_key": said["idempotency_key"],
        "concurrency_key": said["concurrency_key"],
        "metadata": read_metadata(said["metadata"]),
        "priority": said["priority"],
        "deadline": read_deadline(said["deadline"]),
        "dry_run": said["dry_run"],
        "approve_plan": said["approve_plan"],
    }


def _stdin_text() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidGoal(f"the goal on stdin is not UTF-8: {error}.") from None
