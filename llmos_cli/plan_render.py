"""Plans as text and as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_cli.render import short
from llmos_workers.contracts.plan import PlanView

Row = dict[str, Any]
BOX = 22
"""Characters of a goal that a box shows."""


def plan_lines(view: PlanView) -> list[str]:
    """A plan for people: each step, who does it, what it needs and leaves, how it came out."""
    source = "made by the planner" if view.source == "planner" else f"known, trace {view.source}"
    lines = [f"{len(view.steps)} steps, {source}"]
    for row in view.steps:
        lines.append(f"  {row['layer']}. {row['id']}  {short(row['goal'], 100)}")
        facts = {
            "agent": row["agent"] or "",
            "reads from": ", ".join(row["inputs"]),
            "after": ", ".join(row["after"]),
            "leaves": ", ".join(row["outputs"]),
            "expects": row["expects"],
            "came out": came_out(row),
        }
        lines += [f"       {name}: {value}" for name, value in facts.items() if value]
    lines += [f"missing: {each}" for each in view.missing]
    return lines


def came_out(row: Row) -> str:
    """What became of a step; "" when it was not begun."""
    if "status" not in row:
        return ""
    mode = f" ({row['mode']}, {row['llm_calls']} model calls)" if row["mode"] else ""
    why = f": {row['error']}" if row["error"] else ""
    return f"{row['status']}{mode}{why}"


def drawing(steps: Sequence[Row]) -> list[str]:
    """The steps as boxes, a line of boxes for each layer; below each box what it waits for."""
    lines: list[str] = []
    layers = sorted({row["layer"] for row in steps})
    for number in layers:
        rows = [row for row in steps if row["layer"] == number]
        if lines:
            lines.append("    |")
            lines.append("    v")
        lines += _boxes(rows)
    return lines


def _boxes(rows: Sequence[Row]) -> list[str]:
    """One line of boxes, side by side."""
    parts = [_box(row) for row in rows]
    height = max(map(len, parts))
    empty = " " * (BOX + 4)
    return [
        "  ".join(part[n] if n < len(part) else empty for part in parts).rstrip()
        for n in range(height)
    ]


def _box(row: Row) -> list[str]:
    needs = [*row["inputs"], *row["after"]]
    texts = [row["id"], short(row["goal"], BOX)]
    texts.append(f"<- {', '.join(needs)}" if needs else "")
    edge = f"+{'-' * (BOX + 2)}+"
    return [edge, *(f"| {short(text, BOX):<{BOX}} |" for text in texts if text), edge]


def mermaid(steps: Sequence[Row]) -> list[str]:
    """The steps as a Mermaid flowchart."""
    lines = ["flowchart TD"]
    lines += [f'    {_node(row["id"])}["{_words(row)}"]' for row in steps]
    for row in steps:
        lines += [f"    {_node(need)} --> {_node(row['id'])}" for need in row["inputs"]]
        lines += [f"    {_node(need)} -.-> {_node(row['id'])}" for need in row["after"]]
    return lines


def _node(step_id: str) -> str:
    """A node's name: ``end`` and the like are words of Mermaid's own."""
    return f"n_{step_id.replace('-', '_')}"


def _words(row: Row) -> str:
    text = f"{row['id']}: {short(row['goal'], 60)}"
    for sign, code in {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"}.items():
        text = text.replace(sign, code)
    return text
