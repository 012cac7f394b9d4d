"""What is installed elsewhere is whole; tests/test_wheel.py runs it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
COMES_ALONG = {"kombu", "llmos-workers"}
"""Celery's own messaging, in step with it; and ourselves."""


@pytest.fixture(scope="module")
def sources() -> set[str]:
    """Files of the tree that belong into the wheel, by their names there."""
    ours = {
        path.relative_to(ROOT).as_posix()
        for room in ("llmos_workers", "llmos_cli", "edge_runtime")
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return ours | {
        f"llmos_workers/seed/agents/{p.name}" for p in ROOT.glob("workspace/agents/*.md")
    }


@pytest.fixture(scope="module")
def wheel(sources: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built as an installer would, after ``sources`` was listed."""
    assert sources
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", folder, ROOT], check=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_code_data_and_licences(wheel: Path, sources: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sorted(sources - names) == []
    assert len([name for name in names if name.startswith("llmos_workers/seed/agents/")]) == 7
    assert {Path(n).name for n in names if "/licenses/" in n} == {"LICENSE", "NOTICE"}
    assert not [n for n in names if n.startswith(("tests/", "bench/")) or "__pycache__" in n]


def test_what_is_imported_is_declared() -> None:
    """A package that only another one brings can go away with its next release."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    declared = {plain(re.split(r"[\[<>=~]", one)[0]) for one in asked} | COMES_ALONG
    owners = packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for room in ("llmos_workers", "llmos_cli", "edge_runtime")
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path)
        if name in owners and not declared & {plain(one) for one in owners[name]}
    }
    assert sorted(undeclared) == []


def plain(name: str) -> str:
    """A distribution's name as an index knows it."""
    return name.strip().lower().replace("_", "-")


def imported(path: Path) -> set[str]:
    """Top-level names of all imports, those inside of functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
