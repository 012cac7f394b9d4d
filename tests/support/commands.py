"""Every command of llmos by its whole name, as the tree of click has it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from llmos_cli.main import cli


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All that can be called, without the groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


LEAVES = dict(commands(cli))
