"""docs/threats.md: every row has a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text()
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)


@cache
def named_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    defs = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(each.name for each in defs if each.name.startswith("test_"))


def test_all_threats_stand_there_once_and_in_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 22))
    assert all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_each_named_test_exists(path: str, name: str) -> None:
    found = named_in(ROOT / path)
    assert found if not name else name in found


def test_each_row_names_a_test() -> None:
    assert [number for number, _, _, shown in ROWS if "`tests/" not in shown] == []
