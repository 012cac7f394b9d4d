"""The cost of each goal as a small SVG: bars that fall to nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = {"LEARNER": "#c2410c", "MIXED": "#d97706", "FOLLOWER": "#15803d"}
OTHER = "#475569"
WIDTH, BAR, GAP, LEFT, TOP, PLOT = 860, 34, 12, 330, 74, 430


@dataclass(frozen=True)
class Bar:
    """One goal: its words, the mode it ran in, its cost in micro-dollars."""

    label: str
    mode: str
    cost_micro: int


def cost_chart(bars: Sequence[Bar], *, title: str, note: str) -> str:
    """An SVG that reads from top to bottom in the order of the goals."""
    height = TOP + len(bars) * (BAR + GAP) + 40
    most = max((bar.cost_micro for bar in bars), default=0) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="32" font-size="19" font-weight="600" fill="#0f172a">{escape(title)}'
        "</text>",
        f'<text x="20" y="54" font-size="13" fill="#475569">{escape(note)}</text>',
    ]
    for row, bar in enumerate(bars):
        parts += _row(bar, TOP + row * (BAR + GAP), most)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _row(bar: Bar, y: int, most: int) -> list[str]:
    colour = COLOURS.get(bar.mode, OTHER)
    width = max(3, round(PLOT * bar.cost_micro / most))
    middle = y + BAR // 2 + 5
    label = bar.label if len(bar.label) <= 44 else bar.label[:43] + "…"
    cost = f"${bar.cost_micro / 1e6:.4f}" if bar.cost_micro else "$0"
    return [
        f'<text x="{LEFT - 12}" y="{middle}" font-size="13" text-anchor="end" fill="#0f172a">'
        f"{escape(label)}</text>",
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="3" fill="{colour}"/>',
        f'<text x="{LEFT + width + 8}" y="{middle}" font-size="12" fill="{colour}">'
        f"{escape(bar.mode)} {cost}</text>",
    ]
