"""docs/cli.md tells every command, option and exit code as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from llmos_cli.exits import BEST_TO_WORST, Exit
from llmos_cli.main import cli
from tests.support.commands import LEAVES

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTION = re.compile(r"^### `llmos ([a-z ]+?)(?: [A-Z\[].*?)?`\n(.*?)(?=^##|\Z)", re.M | re.S)
SECTIONS = dict(SECTION.findall(PAGE))
EVERYWHERE = {"--help", "--json"}


def options_of(command: click.Command) -> list[str]:
    found = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return [name for option in found for name in (*option.opts, *option.secondary_opts)]


def section_of(name: str) -> str:
    """The command's own section, or that of the group it belongs to."""
    return name if name in SECTIONS else name.partition(" ")[0]


def test_each_command_has_a_section_and_each_section_a_command() -> None:
    assert sorted(SECTIONS) == sorted({section_of(name) for name in LEAVES})
    assert [n for n in LEAVES if n.split()[-1] not in SECTIONS[section_of(n)] + section_of(n)] == []


@pytest.mark.parametrize("section", sorted({section_of(name) for name in LEAVES}))
def test_each_option_is_told_and_none_that_is_not_there(section: str) -> None:
    mine = [command for name, command in LEAVES.items() if section_of(name) == section]
    known = {option for command in mine for option in options_of(command)}
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", SECTIONS[section]))
    assert known - told - EVERYWHERE == set()
    assert told - known - {o for p in cli.params for o in p.opts} == set()


def test_the_global_options_are_told() -> None:
    head = PAGE.partition("## Global options")[2].partition("\n## ")[0]
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", head))
    assert told == {o for p in cli.params for o in p.opts if o.startswith("--")} - {"--verbose"}


def test_exit_codes_and_their_order_are_right() -> None:
    rows = re.findall(r"^\| (\d+) \| ", PAGE, re.M)
    assert sorted(map(int, rows)) == sorted(Exit)
    order = re.search(r"from best to worst: ([\d, ]+)\.", PAGE)
    assert order is not None
    assert [int(code) for code in order[1].split(",")] == [int(code) for code in BEST_TO_WORST]
