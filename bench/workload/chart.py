"""The cost of a goal as the stream goes on, one line a kind of memory, as an SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 430, 70, 96, 250, 50
INK, GREY, GRID = "#0f172a", "#64748b", "#e2e8f0"
LABEL = 32
"""Height of a label."""
WINDOW = 10
"""Share of the stream (1/10) that a point of a line is the mean of."""


@dataclass(frozen=True)
class Line:
    """One kind of memory: the cost of each goal in micro-dollars."""

    label: str
    costs: Sequence[int]
    colour: str
    note: str = ""
    dashed: bool = False


def cost_curves(lines: Sequence[Line], *, title: str, note: str) -> str:
    """Running mean of the cost per goal over the stream."""
    means = [_running(line.costs) for line in lines]
    goals = max(len(line.costs) for line in lines)
    top = max(max(mean) for mean in means) * 1.08 or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(20, 34, title, size=19, colour=INK, weight=600),
        _text(20, 58, note, size=13, colour=GREY),
        *_grid(top, goals),
    ]
    labels: list[tuple[float, Line]] = []
    for line, mean in zip(lines, means, strict=True):
        points = [(_x(at, goals), _y(value, top)) for at, value in enumerate(mean)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.colour}" '
            f'stroke-width="2.5"{dash}/>'
        )
        labels.append((points[-1][1], line))
    parts += _labels(labels)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _running(costs: Sequence[int]) -> list[float]:
    """Means of a window; the first goals, of which there is no mean yet, take the first one."""
    window = max(1, len(costs) // WINDOW)
    full = [sum(costs[at : at + window]) / window for at in range(len(costs) - window + 1)]
    early = [sum(costs[: at + 1]) / (at + 1) for at in range(window // 4, window - 1)]
    means = early + full
    return [means[0]] * (len(costs) - len(means)) + means


def _x(at: int, goals: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / max(1, goals - 1)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _grid(top: float, goals: int) -> list[str]:
    parts = []
    for fifth in range(5):
        value = top * fifth / 4
        y = _y(value, top)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{GRID}"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, f"${value / 1e6:.4f}", size=11, colour=GREY, end=True))
    for quarter in range(5):
        at = round((goals - 1) * quarter / 4)
        words = f"goal {at + 1:,}" if quarter in (0, 4) else str(at + 1)
        x = _x(at, goals)
        parts.append(_text(x, HEIGHT - BOTTOM + 20, words, size=11, colour=GREY, end=quarter == 4))
    return parts


def _labels(labels: list[tuple[float, Line]]) -> list[str]:
    """Names beside the ends of the lines, moved up where they would lie on each other."""
    parts, below = [], float(HEIGHT - BOTTOM + 18)
    for y, line in sorted(labels, key=lambda each: -each[0]):
        below = min(y, below - LABEL)
        x = WIDTH - RIGHT + 14
        parts.append(_text(x, below, line.label, size=13, colour=line.colour, weight=600))
        parts.append(_text(x, below + 14, line.note, size=11, colour=GREY))
    return parts


def _text(
    x: float, y: float, words: str, *, size: int, colour: str, weight: int = 400, end: bool = False
) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}"{anchor}>{escape(words)}</text>'
    )
