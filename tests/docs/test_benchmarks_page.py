"""docs/benchmarks.md names every bench, and figures that the benches print."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text()
FILES = sorted((ROOT / "bench").glob("*.py"))
FOLDERS = sorted(path.parent for path in (ROOT / "bench").glob("*/__main__.py"))
BENCHES = {path.stem: path.read_text() for path in FILES if "\ndef main(" in path.read_text()} | {
    folder.name: "".join(
        path.read_text()
        for path in sorted(folder.glob("*.py"), key=lambda path: path.name != "__main__.py")
    )
    for folder in FOLDERS
}
"""Source of each bench by its name; a folder's begins with what its command runs."""
ROW = re.compile(r"^\| (`python -m bench\.(\w+)[^`]*`)? ?\| (`.+?) \|", re.M)


def test_each_bench_is_named_with_its_command() -> None:
    assert sorted(set(re.findall(r"python -m bench\.(\w+)", PAGE))) == sorted(BENCHES)


@pytest.mark.parametrize("name", BENCHES)
def test_each_bench_says_how_it_is_run(name: str) -> None:
    assert f"python -m bench.{name}" in (ast.get_docstring(ast.parse(BENCHES[name])) or "")


def test_each_figure_of_the_page_is_printed_by_its_bench() -> None:
    bench, seen = "", 0
    for _, named, figures in ROW.findall(PAGE.partition("## What was measured")[2]):
        bench = named or bench
        for key in re.findall(r"`(\w+)`", figures.partition(":")[0]):
            seen += 1
            assert re.search(rf"['\"]{key}['\"]|\b{key}=", BENCHES[bench]), (bench, key)
    assert seen > 10
