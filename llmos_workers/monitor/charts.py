"""Small SVG charts as text, to stand inside of an HTML page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = {
    "LEARNER": "#c2410c",
    "ORCHESTRATOR": "#7c3aed",
    "MIXED": "#a16207",
    "FOLLOWER": "#15803d",
    "CRYSTALLIZED": "#0e7490",
}
OTHER, INK, GREY, LINE = "#475569", "#0f172a", "#64748b", "#cbd5e1"
WIDTH, HEIGHT, LEFT, BOTTOM, ROW = 860, 230, 70, 26, 26


def columns(
    stacks: Sequence[Mapping[str, float]], *, title: str, top: str, colours: Mapping[str, str]
) -> str:
    """A column for each stack of named parts; ``top`` says in words what the highest one is."""
    most = max((sum(stack.values()) for stack in stacks), default=0.0) or 1.0
    step = (WIDTH - LEFT - 10) / max(1, len(stacks))
    floor = HEIGHT - BOTTOM
    parts = [
        _line(LEFT, floor, WIDTH - 10, floor),
        _line(LEFT, 14, LEFT, floor),
        _text(LEFT - 8, 22, top, end=True),
        _text(LEFT - 8, floor, "0", end=True),
        _text(LEFT, HEIGHT - 8, "oldest"),
        _text(WIDTH - 10, HEIGHT - 8, "newest", end=True),
    ]
    for number, stack in enumerate(stacks):
        y = float(floor)
        for name, value in stack.items():
            height = (floor - 14) * value / most
            y -= height
            hint = f"{name} {value:,.0f}"
            parts.append(
                f'<rect x="{LEFT + 2 + number * step:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" '
                f'height="{height:.1f}" fill="{colours.get(name, OTHER)}">'
                f"<title>{escape(hint)}</title></rect>"
            )
    return _svg(HEIGHT, title, parts)


def bars(rows: Sequence[tuple[str, float, str, str]], *, title: str) -> str:
    """A bar for each (label, share of the full width 0..1, words beside it, colour)."""
    parts = []
    for number, (label, share, words, colour) in enumerate(rows):
        y, width = number * ROW, min(1.0, max(0.0, share)) * 420
        parts += [
            _text(210, y + 17, label, end=True),
            f'<rect x="220" y="{y + 4}" width="420" height="16" fill="#f1f5f9"/>',
            f'<rect x="220" y="{y + 4}" width="{width:.1f}" height="16" fill="{colour}"/>',
            _text(650, y + 17, words),
        ]
    return _svg(len(rows) * ROW + 4, title, parts)


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{LINE}"/>'


def _text(x: float, y: float, words: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x}" y="{y}" font-size="12" fill="{GREY}"{anchor}>{escape(words)}</text>'
