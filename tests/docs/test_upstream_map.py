"""Each line of docs/upstream-map.md says where an idea went, and that place exists."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "upstream-map.md"
CELLS = re.compile(r"(?<!\\)\|")
DOTTED = re.compile(r"`((?:llmos_workers|llmos_cli|edge_runtime)(?:\.\w+)*)`")
IN_REPO = re.compile(r"`repo:([^`]+)`")
DROPPED = re.compile(r"^dropped: \w")


@cache
def rows() -> list[tuple[str, str]]:
    found = []
    for line in PAGE.read_text().splitlines():
        if not line.startswith("| ") or line.startswith("| upstream |"):
            continue
        cells = [cell.strip() for cell in CELLS.split(line)[1:-1]]
        assert len(cells) == 2, f"not two columns: {line}"
        found.append((cells[0], cells[1]))
    return found


def resolve(name: str) -> Any:
    """Import as far as there are modules, then go on by attributes and fields."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:split]))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[split:]:
            fields = getattr(found, "model_fields", None) or {}
            notes = getattr(found, "__annotations__", {})
            found = fields[part] if part in fields else getattr(found, part, notes.get(part))
            assert found is not None, f"{name}: no {part!r}"
        return found
    raise AssertionError(f"{name} cannot be imported")


NAMES = sorted({name for _, where in rows() for name in DOTTED.findall(where)})


@pytest.mark.parametrize("name", NAMES)
def test_each_mapped_name_is_there(name: str) -> None:
    resolve(name)


def test_each_mapped_path_is_there() -> None:
    paths = {path for _, where in rows() for path in IN_REPO.findall(where)}
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_each_row_says_where_or_why_not() -> None:
    unclear = [
        (what, where)
        for what, where in rows()
        if not (DOTTED.search(where) or IN_REPO.search(where) or DROPPED.search(where))
    ]
    assert unclear == []


def test_nothing_is_listed_twice() -> None:
    named = [what for what, _ in rows()]
    assert sorted(set(named)) == sorted(named)


def test_a_name_that_is_not_there_would_be_noticed() -> None:
    for name in ("llmos_workers.nowhere", "llmos_workers.config.LLMOSConfig.nothing"):
        with pytest.raises(AssertionError):
            resolve(name)
