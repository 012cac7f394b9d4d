"""``llmos completion``: what makes a shell complete commands, options, ids and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from llmos_cli.exits import Exit
from llmos_cli.main import COMPLETING, cli


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    r"""Print the script that completes llmos in SHELL.

    It completes commands and options, and ids of goals, traces, schedules and requests, projects
    and agents from the system that is reached; nothing where none is.

    \b
    eval "$(llmos completion bash)"                                    in ~/.bashrc
    eval "$(llmos completion zsh)"                                     in ~/.zshrc
    llmos completion fish > ~/.config/fish/completions/llmos.fish      once
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    print(kind(cli, {}, "llmos", COMPLETING).source())
    return Exit.SUCCEEDED
