"""Help: one line a command, the same names everywhere, and nothing loaded to show it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click
import pytest

from llmos_cli.commands import COMMANDS, MEANT
from llmos_cli.main import cli
from tests.cli.conftest import Run
from tests.support.commands import GROUPS, LEAVES

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
    assert not {"--force", "--project-name", "-p", "--max"} & {
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


PROBE = """
import json, sys
from llmos_cli.main import main
code = main(["--help"])
sys.stderr.write(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def test_the_first_help_loads_no_command_and_nothing_heavy() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(ran.stderr) if name.startswith("llmos")}
    assert not {"redis", "pydantic", "celery", "rich"} & set(json.loads(ran.stderr))
    assert loaded <= {
        "llmos_cli", "llmos_cli.commands", "llmos_cli.context", "llmos_cli.exits",
        "llmos_cli.groups", "llmos_cli.lean", "llmos_cli.main", "llmos_cli.options",
        "llmos_cli.wording",
        "llmos_workers", "llmos_workers.contracts", "llmos_workers.contracts.errors",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lsit", "'list'"), ("run", "'submit'"), ("submti", "'submit'"), ("kill", "'cancel'")],
)
def test_what_was_probably_meant_is_said(bare_run: Run, typed: str, meant: str) -> None:
    ran = bare_run(typed, "x")
    assert (ran.code, ran.out) == (2, "")
    assert f"Did you mean {meant}" in ran.err
    assert "llmos --help" in ran.err


def test_sub_commands_and_options_too(bare_run: Run) -> None:
    assert "Did you mean 'show'" in bare_run("traces", "shwo").err
    assert "llmos traces --help" in bare_run("traces", "shwo").err
    assert "Did you mean '--project'" in bare_run("list", "--projcet", "x").err
    nothing: Any = bare_run("xyzzy")
    assert (nothing.code, "Did you mean" in nothing.err) == (2, False)
