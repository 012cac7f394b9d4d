"""Small charts as HTML. Pure.

Shapes are boxes that the style sheet sizes, and words are words of the page: they wrap on a narrow
screen, nothing is cut off, and colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

MODES = ("CRYSTALLIZED", "FOLLOWER", "MIXED", "LEARNER", "ORCHESTRATOR", "NONE")
"""Modes as they are stacked, those without a model at the foot. Each has a colour in STYLE: cold
without a model, warm with one."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #0f172a; --soft: #52606f;
  --card: #f1f5f9; --line: #d5dde6; --crystallized: #1d4ed8; --follower: #38a3d8;
  --mixed: #d9a406; --learner: #c2410c; --orchestrator: #7c3aed; --none: #64748b;
  --enough: #15803d; --low: #c2410c; --state: #0e7490 }
@media (prefers-color-scheme: dark) { :root { --page: #0f1720; --ink: #e7edf3; --soft: #a3b1bf;
  --card: #1a2530; --line: #2f3d4a; --crystallized: #5b86f7; --follower: #6cc4ee;
  --mixed: #e8bd3c; --learner: #f0703a; --orchestrator: #a685f5; --none: #8b99a8;
  --enough: #3fb56b; --low: #f0703a; --state: #35a9c4 } }
.chart { display: grid; grid-template-columns: auto 1fr; gap: 2px 8px; font-size: 13px;
  color: var(--soft) }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right }
.plot { display: flex; align-items: flex-end; gap: 2px; height: 200px;
  border: solid var(--line); border-width: 0 0 1px 1px;
  background: linear-gradient(var(--line), var(--line)) 0 50% / 100% 1px no-repeat }
.plot > span { flex: 1; height: 100%; display: flex; flex-direction: column-reverse;
  max-width: 60px }
.ends { grid-column: 2; display: flex; justify-content: space-between }
.bars { display: grid; grid-template-columns: minmax(120px, 1fr) 3fr minmax(90px, 1.4fr);
  gap: 6px 10px; align-items: center; font-size: 14px }
.bars > * { overflow-wrap: anywhere } .bars > :nth-child(3n + 1) { text-align: right }
.track { background: var(--card); height: 14px; border-radius: 3px; position: relative }
.track i { position: absolute; top: 0; bottom: 0; border-radius: 3px }
.keys span { white-space: nowrap; margin-right: 14px }
.keys i { display: inline-block; width: 12px; height: 12px; margin-right: 5px; border-radius: 2px }
""" + "\n".join(
    f".{name} {{ background: var(--{name.lower()}) }}"
    for name in (*MODES, "enough", "low", "state")
)


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart."""

    label: str
    words: str
    """What stands beside it."""
    share: float
    """Where it ends, as a part of the full width, 0..1."""
    kind: str
    """Class of its colour: a mode, ``enough``, ``low`` or ``state``."""
    start: float = 0.0
    """Where it begins; beyond ``share`` it is drawn from there to here."""


def columns(stacks: Sequence[Mapping[str, float]], *, title: str, top: str, unit: str) -> str:
    """A column for each stack of named parts (modes, first at the foot); ``top`` says in words
    what the highest column is, ``unit`` what is counted. Oldest first.
    """
    most = max((sum(stack.values()) for stack in stacks), default=0.0) or 1.0
    drawn = "".join(f"<span>{_stack(stack, most, unit)}</span>" for stack in stacks)
    return (
        f'<div class="chart" role="img" aria-label="{escape(title)}">'
        f'<div class="scale"><span>{escape(top)}</span><span>0</span></div>'
        f'<div class="plot">{drawn}</div>'
        '<div class="ends"><span>oldest</span><span>newest</span></div></div>'
    )


def _stack(stack: Mapping[str, float], most: float, unit: str) -> str:
    return "".join(
        f'<i class="{_kind(name)}" style="height:{100 * value / most:.2f}%" '
        f'title="{escape(name)}: {value:,.0f} {escape(unit)}"></i>'
        for name, value in stack.items()
    )


def bars(rows: Sequence[Bar], *, title: str) -> str:
    """A line for each: label, bar, words."""
    parts = [f'<div class="bars" role="group" aria-label="{escape(title)}">']
    for row in rows:
        low, high = sorted(min(1.0, max(0.0, edge)) * 100 for edge in (row.start, row.share))
        parts.append(
            f'<span>{escape(row.label)}</span><span class="track"><i class="{_kind(row.kind)}" '
            f'style="left:{low:.1f}%;width:{high - low:.1f}%"></i></span>'
            f"<span>{escape(row.words)}</span>"
        )
    return "\n".join([*parts, "</div>"])


def key(names: Sequence[str]) -> str:
    """Which colour is which mode."""
    parts = [f'<span><i class="{_kind(name)}"></i>{escape(name)}</span>' for name in names]
    return f'<p class="keys">{" ".join(parts)}</p>'


def _kind(name: str) -> str:
    return name if name in (*MODES, "enough", "low", "state") else "NONE"
