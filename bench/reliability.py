"""Is confidence honest? python -m bench.reliability FITTED.jsonl FOREIGN.jsonl [--svg FILE]

Two curves: the families of the first file, judged by weights that never saw them; and the second
file, another author's, judged by weights fitted on the first. Ten bins of equal width, as in
bench.matching: the mean confidence of a bin against the share of its pairs that were right, with
a dot as large as the bin is full. JSON: ``ece`` and ``ece_foreign``.

The points are kept beside the drawing (.json), so that it can be drawn again without the files.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.matching import Answer, calibration_error, stores, weights
from bench.report import finish, table
from bench.train_matching import read_pairs

BINS = 10
SIDE, EDGE = 340, 46
COLOURS = ("#1f6f8b", "#c8553d")
NAMES = ("the author fitted on, by family", "another author")

Point = tuple[float, float, int]
"""Mean confidence of a bin, share that was right, pairs."""


def points(answers: Sequence[Answer]) -> list[Point]:
    """The full bins, in order."""
    cells: dict[int, list[Answer]] = defaultdict(list)
    for answer in rated(answers):
        cells[min(int(answer.confidence * BINS), BINS - 1)].append(answer)
    return [
        (
            round(sum(a.confidence for a in cell) / len(cell), 4),
            round(sum(a.right for a in cell) / len(cell), 4),
            len(cell),
        )
        for _, cell in sorted(cells.items())
    ]


def rated(answers: Sequence[Answer]) -> list[Answer]:
    """Without pairs of label different that bound a changed value: they may be right."""
    return [a for a in answers if not (a.pair["label"] == "different" and a.bound)]


def draw(curves: Sequence[Sequence[Point]]) -> str:
    """The diagram as SVG; the same points give the same text."""
    size, height = SIDE + 2 * EDGE, SIDE + 2 * EDGE + 20 * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{size}" height="{height}" fill="white"/>',
        f'<path d="M{EDGE} {EDGE}V{EDGE + SIDE}H{EDGE + SIDE}" fill="none" stroke="#444"/>',
        f'<path d="M{EDGE} {EDGE + SIDE}L{EDGE + SIDE} {EDGE}" stroke="#bbb" '
        'stroke-dasharray="4 4"/>',
        f'<text x="{EDGE + SIDE / 2:.0f}" y="{EDGE + SIDE + 34}" text-anchor="middle">'
        "confidence</text>",
        f'<text x="14" y="{EDGE + SIDE / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {EDGE + SIDE / 2:.0f})">share that was right</text>',
    ]
    for tick in range(0, 11, 2):
        x, y = _place(tick / 10, tick / 10)
        parts.append(
            f'<text x="{x}" y="{EDGE + SIDE + 16}" text-anchor="middle">{tick / 10}</text>'
        )
        parts.append(f'<text x="{EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{tick / 10}</text>')
    for at, curve in enumerate(curves):
        colour = COLOURS[at % len(COLOURS)]
        spots = [(*_place(confidence, right), count) for confidence, right, count in curve]
        line = " ".join(f"{x},{y}" for x, y, _ in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        for x, y, count in spots:
            radius = 1.5 + math.log10(count + 1) * 2
            parts.append(f'<circle cx="{x}" cy="{y}" r="{radius:.1f}" fill="{colour}"/>')
        below = EDGE + SIDE + 56 + 20 * at
        parts.append(f'<circle cx="{EDGE + 6}" cy="{below - 4}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{EDGE + 18}" y="{below}">{NAMES[at % len(NAMES)]}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _place(confidence: float, right: float) -> tuple[float, float]:
    return round(EDGE + SIDE * confidence, 1), round(EDGE + SIDE * (1 - right), 1)


def ask(file: str, *, fit: list[str] | None) -> list[Answer]:
    """The answers on a file: by weights of ``fit``, else by family."""
    pairs = read_pairs([file])
    model_for = weights(argparse.Namespace(fit=fit, cv=fit is None), pairs)
    with stores() as bench:
        bench.store(pairs)
        return bench.ask(pairs, model_for)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fitted")
    parser.add_argument("foreign")
    parser.add_argument("--svg", type=Path, help="where to draw; the points go beside it")
    given = parser.parse_args()
    own, foreign = ask(given.fitted, fit=None), ask(given.foreign, fit=[given.fitted])
    curves = [points(own), points(foreign)]
    for name, curve in zip(NAMES, curves, strict=True):
        table(name, ("confidence", "right", "pairs"), curve)
    if given.svg:
        given.svg.write_text(draw(curves), encoding="utf-8")
        given.svg.with_suffix(".json").write_text(json.dumps(curves) + "\n", encoding="utf-8")
    finish(
        {
            "ece": calibration_error(rated(own)),
            "ece_foreign": calibration_error(rated(foreign)),
        }
    )


if __name__ == "__main__":
    main()
