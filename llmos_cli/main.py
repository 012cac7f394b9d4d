"""``llmos``: the command line. Every command is loaded when it is called, not before."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit, report, stopped
from llmos_cli.groups import LazyGroup
from llmos_cli.options import Declined, offers
from llmos_workers.contracts.errors import InfrastructureError, LLMOSError, UsageError

COMPLETING = "_LLMOS_COMPLETE"
"""Set by the script of ``llmos completion`` to ask for completions; the name is click's."""


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
)
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    shell_complete=offers("files"),
    help="Settings file (default: llmos.toml).",
)
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=offers("presets"),
    help="default, development, production or testing.",
)
@click.option(
    "--workspace",
    metavar="DIR",
    shell_complete=offers("files"),
    help="Folder of agents, memories and projects.",
)
@click.option(
    "--redis-url", metavar="URL", help="Redis of the system: redis://[user:pw@]host:port."
)
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice: everything.")
@click.version_option(
    package_name="llmos-workers", message="llmos %(version)s", help="Print the version and exit."
)
@click.pass_context
def cli(ctx: click.Context, /, *, verbose: int, **options: str | None) -> None:
    """Run goals in natural language on a fleet of workers, cheaper every time they come back.

    \b
    llmos up                          start everything on this machine
    llmos submit "Create a README"    run one goal and watch it
    llmos doctor                      say what is missing, and how to mend it
    """  # noqa: D301 - click's mark for lines that stay as they are
    from llmos_workers.kernel import logs  # compiles what --help has no need of

    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    logs.set_up(levels[min(verbose, 2)])
    ctx.obj = Session(**options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Tracebacks only with LLMOS_DEBUG=1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=given, prog_name="llmos", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep Python from flushing into the void.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.SUCCEEDED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the process boundary
        if COMPLETING in os.environ:
            return Exit.SUCCEEDED  # the line that is being typed is no place for errors
        return _told(error, as_json=_wants_json(given))
    return code if isinstance(code, int) else Exit.SUCCEEDED


def _wants_json(given: Sequence[str]) -> bool:
    """Whether errors are told as JSON too; what stands behind ``--`` is no option."""
    end = given.index("--") if "--" in given else len(given)
    return "--json" in given[:end]


def _told(error: BaseException, *, as_json: bool) -> int:
    """Put any error into words for the user; the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, Declined):
        return stopped(Exit.CANCELLED, "nothing was done.", as_json=as_json)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return stopped(Exit.INTERRUPTED, "interrupted.", as_json=as_json)
    if isinstance(error, click.ClickException):
        return _click_error(error, as_json)
    if isinstance(error, LLMOSError):
        return report(error, as_json=as_json)
    return report(_unexpected(error), as_json=as_json)


def _click_error(error: click.ClickException, as_json: bool) -> int:
    message = " ".join(error.format_message().split())  # click lists choices on lines of their own
    if as_json:
        return report(UsageError(message), as_json=True)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message())
        return Exit.USAGE
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "llmos"
    print(f"error: {message}\nfix: See {where} --help.", file=sys.stderr)
    return Exit.USAGE


def _unexpected(error: BaseException) -> LLMOSError:
    fix = "Set LLMOS_DEBUG=1 to see where; please report it."
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("llmos"):
        return InfrastructureError(
            f"this command needs the Python package {error.name}, which is not installed.",
            fix="Install llmos with its dependencies: pip install llmos-workers.",
        )
    kind = InfrastructureError if isinstance(error, OSError) else LLMOSError
    wrapped = kind(f"unexpected {type(error).__name__}: {error}", fix=fix)
    wrapped.__cause__ = error
    return wrapped
