"""Limits on numbers among a tool's arguments, such as how far an arm may move.

Limits are data of the tool (``ToolSpec.bounds``) or of the agent that uses it: dotted names of
arguments with their least and greatest value. A number that is none (NaN) is out of any bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from llmos_workers.execution.guard.verdict import FINE, Finding, deny

Bounds = Mapping[str, tuple[float, float]]
"""``position.z`` -> (least, greatest); ``*`` stands for any name or place in a list."""


def check_bounds(bounds: Bounds, arguments: Mapping[str, Any]) -> Finding:
    """Deny the first number that is out of its bounds, or that should be a number and is none."""
    for name, (least, greatest) in bounds.items():
        for place, value in _values(arguments, name.split("."), ""):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return deny("bounds", f"{place} is {value!r}, and has to be a number")
            if not (math.isfinite(value) and least <= value <= greatest):
                return deny("bounds", f"{place} is {value}, outside of {least} to {greatest}")
    return FINE


def _values(value: Any, names: list[str], place: str) -> Iterator[tuple[str, Any]]:
    """What a dotted name points to, with where it is; nothing where it points to nothing."""
    if not names:
        yield place, value
        return
    name, rest = names[0], names[1:]
    if isinstance(value, Mapping):
        for key in value if name == "*" else [name] if name in value else []:
            yield from _values(value[key], rest, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        chosen = range(len(value)) if name == "*" else [int(name)] if name.isdigit() else []
        for index in chosen:
            if index < len(value):
                yield from _values(value[index], rest, f"{place}.{index}".lstrip("."))
