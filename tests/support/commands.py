"""Every command of llmos by its whole name, as the tree of click has it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from llmos_cli.main import cli


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands and groups beneath a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")


ALL = dict(commands(cli))
GROUPS = {name: one for name, one in ALL.items() if isinstance(one, click.Group)}
LEAVES = {name: one for name, one in ALL.items() if name not in GROUPS}
