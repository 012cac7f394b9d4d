"""``llmos doctor``: what works, what does not, and what mends it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from llmos_cli.checks import Finding, Patient, Verdict, examine
from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import emit, json_option

COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


@click.command()
@click.option("--online", is_flag=True, help="Also ask the model's endpoint (a free call).")
@json_option
@click.pass_obj
def doctor(session: Session, online: bool, as_json: bool) -> int:
    """Check every part, and say what mends it.

    Settings, Redis, workers, model, index, workspace, sandbox, files.

    Each finding that is not ok names its fix. Exits with 6 when one fails.
    """
    findings = []
    with _quiet():
        for finding in examine(Patient(session, online=online)):
            findings.append(finding)
            if not as_json:
                tell(finding)
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    warned = sum(finding.verdict is Verdict.WARN for finding in findings)
    if as_json:
        rows = [vars(finding) for finding in findings]
        emit({"ok": not failed, "checks": rows})
    else:
        print(f"{len(findings)} checks: {failed} failed, {warned} warnings.")
    return Exit.INFRASTRUCTURE if failed else Exit.SUCCEEDED


@contextmanager
def _quiet() -> Iterator[None]:
    """The findings say what warnings would say again."""
    logger = logging.getLogger("llmos_workers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def tell(finding: Finding) -> None:
    """One finding as a line, and its fix below."""
    mark = click.style(f"{finding.verdict:<4}", fg=COLOURS[finding.verdict])
    click.echo(f"{mark}  {finding.name:<18} {finding.detail}")
    if finding.fix:
        click.echo(f"      {'':<18} fix: {finding.fix}")
