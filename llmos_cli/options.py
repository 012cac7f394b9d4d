"""Options of several commands, and how their values are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from llmos_cli.context import Session
from llmos_cli.lean import lean_redis
from llmos_workers.contracts.errors import InvalidOption, UsageError

F = TypeVar("F", bound=Callable[..., Any])
Offers = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
FROM_NOW = re.compile(r"\+?(\d+(?:\.\d+)?)([smhd])")

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def by_option(who: str) -> Callable[[F], F]:
    """``--by NAME``: whose word it is. ``who`` begins its help: Who answers, Who does it."""
    return click.option("--by", metavar="NAME", help=f"{who} (default: user@host).")


def offers(kind: str) -> Offers:
    """What a shell completes a value with, for ``shell_complete=``; kinds: those of offers.WORDS
    and offers.SOURCES, and ``files``, files and folders, which a shell finds by itself.
    """

    def offered(ctx: click.Context, _param: click.Parameter, begins: str) -> list[CompletionItem]:
        if kind == "files":
            return [CompletionItem(begins, type="file")]
        given = {k: v for k, v in ctx.find_root().params.items() if k != "verbose"}
        with lean_redis():
            from llmos_cli import offers as found
        return found.offered(kind, Session(**given), ctx.params.get("project"), begins)

    return offered


def _project(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    from llmos_workers.contracts.goal import check_project_name

    return check_project_name(value)


def project_option(help_text: str, *, default: str | None = None) -> Callable[[F], F]:
    """``--project NAME``; a name that cannot be one is refused before anything is done."""
    shown = default is not None
    return click.option("--project", metavar="NAME", default=default, show_default=shown,
                        callback=_project, shell_complete=offers("projects"),
                        help=help_text)  # fmt: skip


def confirm(question: str) -> None:
    """Ask a person on the terminal. Raises Declined for a no, UsageError where nobody can say."""
    try:
        if not click.confirm(question, err=True):
            raise Declined
    except click.Abort as stopped:
        click.echo(err=True)
        if isinstance(stopped.__context__, KeyboardInterrupt):  # click has one word for both
            raise
        raise UsageError("nobody is there to say yes.", fix="Say --yes.") from None


class Declined(Exception):
    """The person said no."""


def _seconds(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter("must be a number of seconds, 0 or more.")
    return value


def limit_option(help_text: str, most: int | None = None) -> Callable[[F], F]:
    """``--limit N``, from 1 to ``most``; 20 where nobody says."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(1, most),
        default=20,
        show_default=True,
        help=help_text,
    )


def timeout_option(help_text: str) -> Callable[[F], F]:
    """``--timeout SECONDS``."""
    return click.option(
        "--timeout", type=float, metavar="SECONDS", callback=_seconds, help=help_text
    )


def read_deadline(text: str | None) -> float | timedelta | datetime | None:
    """A deadline in words: ``90s``, ``10m``, ``2h``, ``1d`` from now, Unix seconds, or ISO 8601
    (local time when it names no zone). Raises InvalidOption.
    """
    if text is None:
        return None
    if relative := FROM_NOW.fullmatch(text.strip()):
        return timedelta(seconds=float(relative[1]) * UNITS[relative[2]])
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise InvalidOption(
            f"deadline {text!r} is no time.",
            fix="Write 90s, 10m, 2h or 1d from now, ISO 8601 (2026-12-01T18:00), or Unix seconds.",
        ) from None


def read_metadata(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """``key=value`` pairs as a mapping; None for none. Raises InvalidOption."""
    if not pairs:
        return None
    split = [pair.partition("=") for pair in pairs]
    for key, sign, _ in split:
        if not key or not sign:
            raise InvalidOption(f"metadata {key!r} has no value.", fix="Write key=value.")
    return {key: value for key, _, value in split}
