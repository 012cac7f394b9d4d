"""``llmos interactive``: a prompt that submits each line and shows what comes of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit, report, worst
from llmos_cli.options import offers, project_option
from llmos_cli.render import goals_table
from llmos_cli.waiting import wait
from llmos_workers.contracts.errors import LLMOSError, UsageError

PROMPT = "llmos> "
HELP = """\
Write a goal in plain words; it is submitted and followed to its end.
  :list      goals of late
  :help      this text
  :quit      leave (also Ctrl-D); goals go on
Ctrl-C ends the waiting for a goal, not the goal."""


@click.command()
@project_option("Project of all goals (default: default).")
@click.option("--mode", metavar="MODE", shell_complete=offers("modes"),
              help="Mode of all goals (default: auto).")  # fmt: skip
@click.pass_obj
def interactive(session: Session, project: str | None, mode: str | None) -> int:
    """Ask for goals one by one and show what comes of each.

    Reads lines from stdin when it is no terminal; then exits with the worst of all goals.
    """
    place = session.client.ping()
    asking = sys.stdin.isatty()
    if asking:
        print(f"llmos at {place}. :help for help.")
    codes = [_answer(session, line, project, mode) for line in _lines(asking)]
    return Exit.SUCCEEDED if asking else worst(codes)


def _lines(asking: bool) -> Iterator[str]:
    """Lines until :quit or the end of input, stripped, without blank ones."""
    if asking:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a history
    while True:
        try:
            line = input(PROMPT if asking else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            print()
            continue
        if line in (":quit", ":q", ":exit"):
            return
        if line:
            yield line


def _answer(session: Session, line: str, project: str | None, mode: str | None) -> int:
    """Do what one line says; an error is told and the loop goes on."""
    try:
        if line.startswith(":"):
            return _command(session, line, project)
        handle = session.client.submit(line, project=project, mode=mode)
        return wait(session.client, handle, title=line)
    except LLMOSError as error:
        return report(error, as_json=False)


def _command(session: Session, line: str, project: str | None) -> int:
    if line == ":list":
        records = session.client.list(project=project, limit=10)
        print("\n".join(goals_table(records)) if records else "no goals.")
    elif line == ":help":
        print(HELP)
    else:
        raise UsageError(f"unknown command {line!r}.", fix="See :help; a goal starts without ':'.")
    return Exit.SUCCEEDED
