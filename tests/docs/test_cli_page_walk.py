"""All commands are of one kind: --json, help on one line, the same names for the same things.

Who adds a command finds here what it has to have.
"""

from __future__ import annotations

import click
import pytest

from llmos_cli.commands import COMMANDS, MEANT
from llmos_cli.main import cli
from tests.cli.calls import CALLS, called
from tests.support.commands import GROUPS, LEAVES

WITHOUT = {
    "interactive": "a prompt for people; programs use submit --file - --json",
    "completion": "prints a script for a shell",
    "up": "runs until it is stopped; what is up is told by doctor --json",
    "worker": "becomes a Celery worker",
    "flower": "becomes Flower",
    "metrics": "prints or serves the text format of Prometheus; figures as JSON: top --once --json",
}
"""Commands without --json, each with the reason."""

RUN_ELSEWHERE = {
    "demo": "starts a system of its own: tests/spine/test_demo.py",
    "edge import": "needs what a device recorded: tests/cli/test_edge.py",
    "undo": "changes what others are asked about: tests/cli/test_files.py",
}

LONGEST = 65
"""Characters of a help line that fit beside the names on a terminal of 80."""

METAVARS = {
    "--agent": "NAME", "--budget": "USD", "--by": "NAME", "--file": "FILE", "--goal": "ID",
    "--limit": "N", "--mode": "MODE", "--priority": "1|2|3", "--project": "NAME",
    "--timeout": "SECONDS", "--why": "TEXT",
}  # fmt: skip
"""Options of several commands, which look the same in all of them."""


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


@pytest.mark.parametrize("name", [*LEAVES, *GROUPS])
def test_a_help_is_one_line_and_says_what_is_done(name: str) -> None:
    command = LEAVES.get(name) or GROUPS[name]
    told = command.get_short_help_str(1_000)
    assert len(told) <= LONGEST, f"llmos {name}: at most {LONGEST} characters before the first stop"
    assert told[0].isupper()
    assert told.endswith(".")
    for option in options(command):
        assert option.help, f"llmos {name} {option.opts[0]} has no help"
        assert option.help.endswith(".") or "\n" in option.help, option.help


@pytest.mark.parametrize("name", LEAVES)
def test_an_option_of_several_commands_looks_the_same_in_all(name: str) -> None:
    for option in options(LEAVES[name]):
        if wanted := METAVARS.get(option.opts[0]):
            assert option.metavar == wanted, (
                f"llmos {name} {option.opts[0]}: metavar={wanted!r}; see llmos_cli/options.py"
            )
        if option.opts[0] == "--project":
            assert option.callback, f"llmos {name}: use project_option of llmos_cli/options.py"
        if option.opts[0] == "--limit":
            assert isinstance(option.type, click.IntRange)
        if option.opts[0] == "--yes":
            assert option.is_flag
    assert not {"--project-name", "-p", "--max"} & {
        each for option in options(LEAVES[name]) for each in option.opts
    }


def test_the_table_tells_what_the_commands_tell() -> None:
    context = click.Context(cli)
    for name, entry in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert entry.help == command.get_short_help_str(1_000), f"llmos_cli/commands.py: {name}"
    assert set(MEANT.values()) <= set(COMMANDS)
    assert not set(MEANT) & set(COMMANDS)


def test_every_command_has_json_or_a_reason() -> None:
    for name, command in LEAVES.items():
        option = next((p for p in command.params if "--json" in p.opts), None)
        if name in WITHOUT:
            assert option is None, f"{name} has --json: take it off WITHOUT in this file"
            continue
        assert option is not None, (
            f"llmos {name} has no --json. Put @json_option of llmos_cli/output.py on it and print "
            "with say, emit or emit_each of that module; for what is no command for programs give "
            "the reason in WITHOUT of this file."
        )
        assert (option.name, option.help) == ("as_json", "Print JSON for programs."), (
            f"llmos {name}: use json_option of llmos_cli/output.py"
        )
    assert set(WITHOUT) <= set(LEAVES)


def test_every_command_is_called() -> None:
    missing = set(LEAVES) - set(WITHOUT) - set(RUN_ELSEWHERE)
    missing -= {called(line) for line in CALLS}
    assert not missing, (
        f"add a line with a call of {sorted(missing)} to CALLS in tests/cli/calls.py"
    )
