"""The first level of the command line: commands that are loaded when they are called."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmos_cli.commands import COMMANDS, MEANT, SECTIONS
from llmos_cli.lean import lean_redis
from llmos_cli.wording import worded


class LazyGroup(click.Group):
    """Commands by name, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, or None for one that is not there."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].where.partition(":")
        with lean_redis():
            command = getattr(import_module(f"llmos_cli.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - a fault in the table
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click; a name that is not there is answered with what was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {name!r}.{_meant(name)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click; what goes wrong is put into words."""
        with worded(ctx):
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """All commands under their titles, none of them loaded."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", one.help) for name, one in entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands from the table, options as click has them."""
        names = [
            CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _meant(name: str) -> str:
    close = get_close_matches(name, COMMANDS, n=3)
    if meant := MEANT.get(name.lower()):
        close = [meant, *(each for each in close if each != meant)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
