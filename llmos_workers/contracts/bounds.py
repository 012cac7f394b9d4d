"""Bounds on numbers among a tool's arguments, as people write them into agents and projects.

``{MoveArm: {x: [0, 300], speed: {max: 50}, "path.*.z": {min: 0, max: 400}}}``: for each tool, a
dotted name of an argument (``*`` stands for any name or place in a list) with least and greatest
value, in the tool's units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Range = tuple[float, float]
"""Least and greatest value, both allowed; infinite where a side is open."""

ToolBounds = Mapping[str, Mapping[str, Range]]
"""Tool -> dotted name of an argument -> its range."""

TOOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_ARGUMENT = re.compile(r"[^.\s]+(?:\.[^.\s]+)*")


class BoundsError(Exception):
    """Bounds that make no sense; ``field`` is the key that is wrong, for its line."""

    def __init__(self, reason: str, field: str = "bounds") -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field


def intersection(one: ToolBounds, other: ToolBounds) -> dict[str, dict[str, Range]]:
    """Ranges that hold where both do. A range may be empty: nothing is inside of it."""
    found = {tool: dict(ranges) for tool, ranges in one.items()}
    for tool, ranges in other.items():
        mine = found.setdefault(tool, {})
        for name, (least, greatest) in ranges.items():
            low, high = mine.get(name, (-math.inf, math.inf))
            mine[name] = max(low, least), min(high, greatest)
    return found


def parse_bounds(data: object) -> dict[str, dict[str, Range]]:
    """Bounds from nested plain data. Raises BoundsError."""
    if not isinstance(data, Mapping):
        raise BoundsError("bounds must be a table: {Tool: {argument: [least, greatest]}}.")
    return {_tool(tool): _of_tool(tool, ranges) for tool, ranges in data.items()}


def plain_bounds(bounds: ToolBounds) -> dict[str, dict[str, dict[str, float]]]:
    """Bounds as parse_bounds reads them: open sides are left out."""
    return {
        tool: {
            name: {
                side: value
                for side, value in (("min", least), ("max", greatest))
                if math.isfinite(value)
            }
            for name, (least, greatest) in ranges.items()
        }
        for tool, ranges in bounds.items()
    }


def _tool(name: object) -> str:
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise BoundsError(f"{name!r} is not a tool name; bounds name tools exactly.", str(name))
    return name


def _of_tool(tool: str, ranges: object) -> dict[str, Range]:
    if not isinstance(ranges, Mapping) or not ranges:
        raise BoundsError(
            f"the bounds of {tool} must be a table: {{argument: [least, greatest]}}.", tool
        )
    found = {}
    for name, given in ranges.items():
        if not isinstance(name, str) or not _ARGUMENT.fullmatch(name):
            raise BoundsError(f"{tool}: {name!r} is not a dotted name of an argument.", str(name))
        found[name] = _range(f"{tool}.{name}", name, given)
    return found


def _range(place: str, field: str, given: object) -> Range:
    if isinstance(given, Mapping):
        unknown = set(given) - {"min", "max"}
        if unknown or not given:
            raise BoundsError(f"{place}: give min, max or both, and nothing else.", field)
        sides: list[Any] = [given.get("min", -math.inf), given.get("max", math.inf)]
        stated = list(given.values())
    elif isinstance(given, list | tuple) and len(given) == 2:
        sides = stated = list(given)
    else:
        raise BoundsError(f"{place}: must be [least, greatest] or {{min: , max: }}.", field)
    for value in stated:
        number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise BoundsError(f"{place}: {value!r} is not a finite number.", field)
    least, greatest = (float(side) for side in sides)
    if least > greatest:
        raise BoundsError(f"{place}: the least value is above the greatest.", field)
    return least, greatest
