"""The cost of each goal as a small SVG: paid once as a bar, free from then on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = {
    "LEARNER": "#c2410c",
    "MIXED": "#a16207",
    "FOLLOWER": "#15803d",
    "CRYSTALLIZED": "#0e7490",
}
OTHER, INK, GREY, FREE = "#475569", "#0f172a", "#64748b", "#dcfce7"
LEGEND = {
    "LEARNER": "a model, paid",
    "MIXED": "model and trace, paid",
    "FOLLOWER": "a replay, free",
    "CRYSTALLIZED": "a tool, free",
}
WIDTH, ROW, BAR, LEFT, TOP, PLOT = 860, 44, 28, 290, 118, 360
LABEL_CHARS, FREE_WIDTH = 38, 166


@dataclass(frozen=True)
class Bar:
    """One goal: its words, the mode it ran in, its cost in micro-dollars, and what it shows."""

    label: str
    mode: str
    cost_micro: int
    note: str = ""


def cost_chart(bars: Sequence[Bar], *, title: str, note: str) -> str:
    """An SVG that reads from top to bottom in the order of the goals."""
    height = TOP + len(bars) * ROW + 14
    most = max((bar.cost_micro for bar in bars), default=0) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(20, 32, title, size=19, colour=INK, weight=600),
        _text(20, 54, note, size=13, colour=OTHER),
        *_legend(),
        f'<line x1="{LEFT}" y1="{TOP - 8}" x2="{LEFT}" y2="{height - 12}" stroke="#cbd5e1"/>',
    ]
    for row, bar in enumerate(bars):
        parts += _row(bar, TOP + row * ROW, most)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _legend() -> list[str]:
    parts, x = [], 20
    for mode, meaning in LEGEND.items():
        parts.append(f'<rect x="{x}" y="74" width="12" height="12" rx="2" fill="{COLOURS[mode]}"/>')
        words = f"{mode}: {meaning}"
        parts.append(_text(x + 18, 85, words, size=12, colour=OTHER))
        x += 30 + round(6.8 * len(words))
    return parts


def _row(bar: Bar, y: int, most: int) -> list[str]:
    label = bar.label if len(bar.label) <= LABEL_CHARS else bar.label[: LABEL_CHARS - 1] + "…"
    parts = [_text(LEFT - 12, y + (13 if bar.note else 19), label, size=13, colour=INK, end=True)]
    if bar.note:
        parts.append(_text(LEFT - 12, y + 28, bar.note, size=11, colour=GREY, end=True))
    return [*parts, *(_paid(bar, y, most) if bar.cost_micro else _free(bar, y))]


def _paid(bar: Bar, y: int, most: int) -> list[str]:
    colour = COLOURS.get(bar.mode, OTHER)
    width = max(4, round(PLOT * bar.cost_micro / most))
    cost = f"${bar.cost_micro / 1e6:.4f}  {bar.mode}"
    return [
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" fill="{colour}"/>',
        _text(LEFT + width + 10, y + 19, cost, size=13, colour=colour, weight=600),
    ]


def _free(bar: Bar, y: int) -> list[str]:
    """No bar has a length of nothing: a tag says it."""
    colour = COLOURS.get(bar.mode, OTHER)
    return [
        f'<rect x="{LEFT + 8}" y="{y + 1}" width="{FREE_WIDTH}" height="{BAR - 2}" rx="13" '
        f'fill="{FREE}" stroke="{colour}"/>',
        _text(LEFT + 22, y + 19, f"$0  {bar.mode}", size=13, colour=colour, weight=600),
    ]


def _text(
    x: int, y: int, words: str, *, size: int, colour: str, weight: int = 400, end: bool = False
) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
        f'{anchor} xml:space="preserve">{escape(words)}</text>'
    )
