"""docs/matching.md: its diagram is the one the bench draws."""

from __future__ import annotations

import json
from pathlib import Path

from bench.reliability import NAMES, draw

DOCS = Path(__file__).parents[2] / "docs"


def test_the_diagram_is_drawn_from_the_points_beside_it() -> None:
    curves = json.loads((DOCS / "reliability.json").read_text())
    assert (DOCS / "reliability.svg").read_text() == draw(curves)
    assert len(curves) == len(NAMES)
    assert "](reliability.svg)" in (DOCS / "matching.md").read_text()


def test_the_points_say_that_confidence_is_honest() -> None:
    for curve in json.loads((DOCS / "reliability.json").read_text()):
        total = sum(count for _, _, count in curve)
        gap = sum(abs(confidence - right) * count for confidence, right, count in curve)
        assert gap / total <= 0.05
