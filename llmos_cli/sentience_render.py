"""Internal state as text and as a drawing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_cli.render import printable
from llmos_workers.contracts.state import SentienceState
from llmos_workers.sentience.valence import FIELDS

CELLS = 20
SPARKS = "▁▂▃▄▅▆▇█"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Told apart also by people who see few colours."""
WIDTH, HEIGHT, MARGIN = 720, 300, 40


def bar(value: float) -> str:
    """A value in [-1, 1] as a bar around its middle."""
    half = CELLS // 2
    filled = round(abs(value) * half)
    left = "█" * filled if value < 0 else ""
    right = "█" * filled if value >= 0 else ""
    return f"{left:·>{half}}|{right:·<{half}}"


def sparkline(values: Sequence[float]) -> str:
    """Values in [-1, 1] as one character each."""
    top = len(SPARKS) - 1
    return "".join(SPARKS[min(top, max(0, round((value + 1) / 2 * top)))] for value in values)


def state_lines(state: SentienceState, history: Sequence[SentienceState]) -> list[str]:
    """Bars, the way each value went, and the mode that follows."""
    lines = [f"mode {state.latent_mode.value}, homeostatic cost {state.homeostatic_cost:.4f}"]
    for field in FIELDS:
        value = getattr(state.valence, field)
        went = sparkline([getattr(each.valence, field) for each in history[-40:]])
        lines.append(f"{field:16} {value:+.2f}  {bar(value)}  {went}".rstrip())
    if state.last_trigger:
        why = f" ({state.last_trigger_reason})" if state.last_trigger_reason else ""
        lines.append(printable(f"last: {state.last_trigger}{why}, {state.last_updated}"))
    return lines


def history_line(state: SentienceState) -> str:
    """One state in one line."""
    values = " ".join(f"{getattr(state.valence, field):+.2f}" for field in FIELDS)
    line = f"{state.last_updated}  {values}  {state.latent_mode.value:14} {state.last_trigger}"
    return printable(f"{line}  {state.last_trigger_reason}".rstrip())


def history_svg(history: Sequence[SentienceState]) -> str:
    """The four values over the states kept, as a drawing."""
    inner, steps = HEIGHT - 2 * MARGIN, max(1, len(history) - 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in (-1, 0, 1):
        y = MARGIN + (1 - value) / 2 * inner
        parts.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ccc"/>'
            f'<text x="8" y="{y + 4:.1f}">{value:+d}</text>'
        )
    for number, (field, colour) in enumerate(zip(FIELDS, COLOURS, strict=True)):
        points = " ".join(
            f"{MARGIN + at / steps * (WIDTH - 2 * MARGIN):.1f},"
            f"{MARGIN + (1 - getattr(state.valence, field)) / 2 * inner:.1f}"
            for at, state in enumerate(history)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        x = MARGIN + number * 160
        parts.append(f'<text x="{x}" y="{HEIGHT - 12}" fill="{colour}">{field}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
