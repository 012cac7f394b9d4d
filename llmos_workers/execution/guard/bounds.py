"""Limits on numbers among a tool's arguments, such as how far an arm may move.

Limits are data of the tool (``ToolSpec.bounds``), of the agent that uses it and of the project it
works in: dotted names of arguments with their least and greatest value. All of them hold at once. A
number that is none (NaN) is out of any bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from llmos_workers.contracts.bounds import Range
from llmos_workers.contracts.tools import ToolCall, ToolSpec
from llmos_workers.execution.guard.verdict import FINE, Finding, deny

Bounds = Mapping[str, Range]
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


def check_demanded(bounds: Bounds, call: ToolCall, spec: ToolSpec) -> Finding:
    """Bounds that people set on a tool. A name that the tool does not have is a typing error, and
    would bound nothing: deny. What a call leaves out has the schema's default.
    """
    properties = spec.input_schema.get("properties", {})
    for name in bounds:
        if name.split(".")[0] not in properties:
            return deny("bounds", f"{spec.name} has no argument {name!r}, which bounds are set on")
    defaults = {
        name: part["default"]
        for name, part in properties.items()
        if isinstance(part, dict) and "default" in part
    }
    return check_bounds(bounds, defaults | call.arguments)


def _values(value: Any, names: list[str], place: str) -> Iterator[tuple[str, Any]]:
    """What a dotted name points to, with where it is; nothing where it points to nothing. Where
    the way there ends in something else than a table or a list, that something.
    """
    if not names:
        yield place, value
        return
    name, rest = names[0], names[1:]
    if isinstance(value, Mapping):
        for key in value if name == "*" else [name] if name in value else []:
            yield from _values(value[key], rest, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        if name != "*" and not name.isdigit():
            yield place, value
            return
        for index in range(len(value)) if name == "*" else [int(name)]:
            if index < len(value):
                yield from _values(value[index], rest, f"{place}.{index}".lstrip("."))
    else:
        yield place, value
