"""What the tutorial and the how-tos show in a terminal is what happens there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console import blocks_of, play, stack_in

DOCS = Path(__file__).parents[2] / "docs"
HOW_TOS = sorted(path for path in (DOCS / "howto").glob("*.md"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a running system for all how-tos: each works in projects of its own."""
    folder = tmp_path_factory.mktemp("howto")
    with stack_in(folder):
        yield folder


def test_the_tutorial_starts_with_what_this_test_starts() -> None:
    assert "llmos up\n" in [block.text for block in blocks_of((DOCS / "tutorial.md").read_text())]


@pytest.mark.slow
@pytest.mark.process
def test_the_tutorial_says_what_happens(tmp_path: Path) -> None:
    with stack_in(tmp_path):
        play(DOCS / "tutorial.md", tmp_path)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", HOW_TOS, ids=lambda path: path.stem)
def test_a_how_to_says_what_happens(page: Path, stack: Path) -> None:
    play(page, stack)
