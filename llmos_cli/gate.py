"""``llmos gate``: what the gate decided about every tool call, and whether that log is whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import limit_option, offers, project_option
from llmos_cli.output import data_of, emit, json_option
from llmos_cli.progress import at_work
from llmos_cli.render import printable, short
from llmos_workers.contracts.gate import GateDecision, LoggedDecision
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.gate_files import GateFiles
from llmos_workers.kernel.gate_log import Entry, GateLog
from llmos_workers.kernel.gate_verify import Verified
from llmos_workers.kernel.gate_verify import verify as verify_log
from llmos_workers.kernel.workspace import Workspace


@click.group()
def gate() -> None:
    """Read and verify the log of the gate's decisions."""


@gate.command(name="log")
@click.option(
    "--goal", metavar="ID", shell_complete=offers("goals"), help="Only calls of this goal."
)
@project_option("Only calls in this project.")
@click.option("--decision", type=click.Choice([each.value for each in GateDecision]),
              help="Only calls that were decided so.")  # fmt: skip
@limit_option("Most decisions to show.")
@json_option
@click.pass_obj
def show_log(
    session: Session,
    *,
    goal: str | None,
    project: str | None,
    decision: str | None,
    limit: int,
    as_json: bool,
) -> int:
    """List decisions, newest first.

    The newest are in Redis, all others in state/audit/ of the workspace, where this machine has
    it. Arguments are not logged, but their digest is.
    """
    with at_work(session.client, "reading the audit log", quiet=as_json) as watch:
        wanted = (
            each
            for each in watch("reading the audit log", _decisions(session))
            if goal in (None, each.record.goal_id)
            and project in (None, each.record.project)
            and decision in (None, each.record.decision.value)
        )
        found = list(islice(wanted, limit))
    if as_json:
        for each in found:
            emit(data_of(each, exclude={"record"}) | data_of(each.record))
    else:
        print("\n".join(map(_row, found)) if found else "no decisions.")
    return Exit.SUCCEEDED


@gate.command()
@click.option("--from", "since", default=1, show_default=True, type=click.IntRange(1),
              help="First record to look for, where older files were moved away.")  # fmt: skip
@click.option("--head", default="", metavar="HASH",
              help="A head's hash, noted down earlier, that has to be there.")  # fmt: skip
@json_option
@click.pass_obj
def verify(session: Session, since: int, head: str, as_json: bool) -> int:
    """Check that nothing in the log was changed or is missing.

    Needs the workspace. Exits with 1 when something is wrong. Who can write Redis and the files
    can write a new chain: note the head's hash down elsewhere, and give it with --head.
    """
    with at_work(session.client, "checking the audit log", quiet=as_json) as watch:
        found = verify_log(_log(session), _files(session), since=since, head=head, watch=watch)
    if as_json:
        emit(_figures(found))
    else:
        print("\n".join(_lines(found)))
    return Exit.SUCCEEDED if found.whole else Exit.FAILED


def _log(session: Session) -> GateLog:
    return GateLog(session.client.redis)


def _files(session: Session) -> GateFiles:
    return GateFiles(Workspace(session.client.config.workspace).audit)


def _decisions(session: Session) -> Iterator[LoggedDecision]:
    """Newest first; what makes no sense is left out: it is for ``verify`` to tell."""
    for entry in _entries(session):
        try:
            yield entry.decision()
        except ValueError:
            continue


def _entries(session: Session) -> Iterator[Entry]:
    oldest: dict[str, int] = {}
    for entry in _log(session).newest():
        oldest[entry.chain] = entry.n
        yield entry
    for entry in _files(session).newest():
        if entry.n < oldest.get(entry.chain, entry.n + 1):
            yield entry


def _row(each: LoggedDecision) -> str:
    record = each.record
    why = f"  {record.rule}: {short(record.reason)}" if record.rule else ""
    return printable(
        f"{iso(each.at)}  {record.decision.value:<6}  {record.goal_id}  {record.tool}{why}"
    )


def _figures(found: Verified) -> dict[str, object]:
    return {
        "whole": found.whole,
        "records": found.records,
        "counts": dict(sorted(found.counts.items())),
        "chain": found.head.chain,
        "head": found.head.hash,
        "length": found.head.n,
        "filed": found.head.filed,
        "faults": found.faults,
        "more_faults": found.more_faults,
    }


def _lines(found: Verified) -> list[str]:
    counts = ", ".join(f"{count} {name}" for name, count in sorted(found.counts.items()))
    lines = [f"{found.records} records{f': {counts}' if counts else ''}"]
    if found.head.n:
        lines.append(f"head: {found.head.hash} ({found.head.n} logged, {found.head.filed} filed)")
    if found.whole:
        lines.append("the log is whole.")
    else:
        lines += [f"NOT WHOLE: {printable(fault)}" for fault in found.faults]
        if found.more_faults:
            lines.append(f"and {found.more_faults} more")
    return lines
