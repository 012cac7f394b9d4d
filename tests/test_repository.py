"""The house rules that a glance at the files can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CODE = [
    path
    for room in ("llmos_workers", "llmos_cli", "bench", "edge_runtime", "examples")
    for path in (ROOT / room).rglob("*")
    if path.suffix in (".py", ".lua")
]
MOST_LINES = 400
ONE_FILE = {"run_follower.py", "run_agentic_follower.py"}
"""What is copied to devices, which is one file, and one more, for that reason."""

FOREIGN = re.compile(
    r"(?<![\w.~}])[/](?:work|root)/|/opt/\w|\bfar[m]-|\bproto" r"types?/|\bseed" r"s/"
    r"|pypi\.org|pythonhosted|artifactory|index[-_]url|find[-_]links",
    re.I,
)  # fmt: skip
"""Folders of whoever wrote this, and hosts of package registries."""


def tracked() -> list[Path]:
    """Files that git knows, and new ones it would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_each_dependency_has_a_lower_and_an_upper_bound() -> None:
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]
    asked = [one for one in asked if not one.startswith(PROJECT["name"])]
    bounded = re.compile(r">=[\d.]+,<[\d.]+$|==[\d.]+$|^tzdata>=[\d.]+$")  # data: newer is better
    open_ended = [one for one in asked if not bounded.search(one)]
    assert open_ended == []


def test_the_hooks_of_pre_commit_are_tools_of_make_setup() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    programs = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    assert {Path(program).name for program in programs} == {"ruff", "mypy"}
    here = Path(sys.executable).parent
    assert [p for p in programs if not (here / Path(p).name).exists()] == []


def test_ci_runs_lint_types_tests_and_the_demo() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    wanted = ["setup", "lint", "types", "test", "demo"]
    assert [name for name in wanted if f"\nmake {name}\n" not in script] == []
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_no_file_tells_where_it_was_written() -> None:
    told = []
    for path in tracked():
        if path.suffix in (".txt", ".lock") or path == Path(__file__):
            continue  # a vocabulary holds every word
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        told += [f"{path.relative_to(ROOT)}: {found[0]}" for found in FOREIGN.finditer(text)]
    assert told == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.name in ONE_FILE or len(text.splitlines()) <= MOST_LINES
    if path.suffix == ".lua":
        assert text.startswith("--")
    else:
        assert ast.get_docstring(ast.parse(text))


def test_the_licence_is_said_alike_everywhere() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    vocabulary = "llmos_workers/learning/matching/data/vocab.txt"
    assert vocabulary in notice
    assert (ROOT / vocabulary).is_file()
