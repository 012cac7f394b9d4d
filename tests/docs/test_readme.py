"""What the README tells a user to type works, in its order, on a fresh folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_cli.commands import COMMANDS
from llmos_cli.demo_script import SCENES
from llmos_workers.config_keys import (
    FALLBACK_VARIABLES,
    OTHER_VARIABLES,
    SHORT_VARIABLES,
    all_keys,
    variable_of,
)
from tests.support.console import blocks_of, run, stack_in

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
NUMBERS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
)  # fmt: skip


BLOCKS = blocks_of(README)
SHELL = [line for block in BLOCKS if block.language == "sh" for line in block.lines]
PLAIN = [line for block in BLOCKS if not block.language for line in block.lines]
PYTHON = [block.text for block in BLOCKS if block.language == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder in which ``llmos up``, the README's first command, runs."""
    folder = tmp_path_factory.mktemp("readme")
    with stack_in(folder, SHELL[0]):
        yield folder


def test_the_readme_has_what_these_tests_run() -> None:
    assert SHELL[0] == "llmos up"
    assert (len(SHELL) > 5, len(PYTHON)) == (True, 1)
    assert {block.language for block in BLOCKS} == {"sh", "python", ""}


@pytest.mark.process
def test_each_command_succeeds_in_order(folder: Path) -> None:
    said = {command: run(command, folder) for command in SHELL[1:]}
    assert "calculator" in said["llmos list"]
    assert "FOLLOWER" in said['llmos submit "Build a calculator in Python"']
    assert (folder / "workspace/projects/default/output/calculator.py").is_file()
    assert list((folder / "workspace/memories/traces").rglob("*.md"))


@pytest.mark.process
def test_the_python_of_the_readme_runs(folder: Path) -> None:
    (folder / "app.py").write_text(PYTHON[0])
    assert run("python app.py", folder).startswith("SUCCEEDED ")


@pytest.mark.process
def test_the_example_runs_in_at_most_twenty_lines(folder: Path) -> None:
    example = ROOT / "examples" / "enqueue_from_your_app.py"
    told = run(f"python {shlex.quote(str(example))}", folder).splitlines()
    assert len([line for line in told if line.startswith("SUCCEEDED ")]) == 2
    assert len([line for line in example.read_text().splitlines() if line.strip()]) <= 20


def test_make_commands_are_targets() -> None:
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.M)
    named = [line.split()[1] for line in PLAIN if line.startswith("make ")]
    assert named[:2] == ["demo", "test"]
    assert set(named) <= set(targets)


def test_commands_that_are_only_mentioned_exist() -> None:
    mentioned = set(re.findall(r"`llmos ([a-z]+)", README))
    assert len(mentioned) > 5
    assert mentioned - set(COMMANDS) == set()


def test_exported_variables_exist() -> None:
    known = {*map(variable_of, all_keys()), *SHORT_VARIABLES, *OTHER_VARIABLES, *FALLBACK_VARIABLES}
    named = re.findall(r"^export (\w+)=", "\n".join(PLAIN), re.M)
    assert "ANTHROPIC_API_KEY" in named
    assert set(named) <= known


def test_every_plain_line_is_checked_above() -> None:
    assert [line for line in PLAIN if not line.startswith(("make ", "export "))] == []


def test_the_number_of_the_demos_goals_is_right() -> None:
    told = re.findall(rf"\b({'|'.join(NUMBERS)}) goals", README)
    assert told == [NUMBERS[len(SCENES) - 10]]


def test_each_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
