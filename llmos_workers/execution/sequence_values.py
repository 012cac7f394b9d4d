"""Values of a program: references, functions and conditions. Pure."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from typing import Any

from llmos_workers.contracts.errors import ToolError

Names = dict[str, Any]

MAX_VALUE_CHARS = 1_000_000
"""Largest value that a step may make, counted as characters of its texts plus its parts."""

_REFERENCE = re.compile(r"\$(\$?)\{\{(.{1,500}?)\}\}", re.DOTALL)


def render(value: Any, names: Names) -> Any:
    """The value with references resolved: a text that is one reference keeps that value's type,
    others become text; ``$${{`` stands for itself. Raises ToolError.
    """
    if isinstance(value, dict):
        return {key: render(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [render(part, names) for part in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole and not whole[1]:
        return resolve(whole[2], names)
    parts: list[str] = []
    at = size = 0
    for found in _REFERENCE.finditer(value):
        inner = found[0][1:] if found[1] else as_text(resolve(found[2], names))
        parts += (value[at : found.start()], inner)
        at = found.end()
        size += len(inner)
        if size > MAX_VALUE_CHARS:
            raise ToolError("a value of the program grew too large.")
    return "".join((*parts, value[at:]))


def resolve(reference: str, names: Names) -> Any:
    """The value of ``name.field.0 | function``. Raises ToolError naming what is not there."""
    path, *functions = (part.strip() for part in reference.split("|"))
    name, *fields = path.split(".")
    if name not in names:
        known = ", ".join(names) or "none"
        raise ToolError(f"there is no value {name!r} (there are: {known}).")
    value = names[name]
    for field in fields:
        value = _field(value, field, path)
    for function in functions:
        if function not in _FUNCTIONS:
            raise ToolError(f"there is no function {function!r}.")
        try:
            value = _FUNCTIONS[function](value)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ToolError(f"{function} cannot be applied to {path}: {error}.") from None
    return value


def holds(conditions: list[dict[str, Any]], names: Names) -> bool:
    """Whether all conditions hold. Raises ToolError for values that cannot be compared."""
    return all(
        _compare(c["op"], render(c["left"], names), render(c["right"], names)) for c in conditions
    )


def check_size(value: Any) -> Any:
    """The value itself. Raises ToolError when it is too large."""
    left = MAX_VALUE_CHARS
    stack = [value]
    while stack:
        part = stack.pop()
        left -= 1 + (len(part) if isinstance(part, str) else 0)
        if left < 0:
            raise ToolError("a value of the program grew too large.")
        if isinstance(part, dict):
            stack += part.values()
            left -= sum(map(len, part))
        elif isinstance(part, list):
            stack += part
    return value


def as_text(value: Any) -> str:
    """A value inside a text: texts as they are, others as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(check_size(value), ensure_ascii=False)


def _field(value: Any, field: str, path: str) -> Any:
    if isinstance(value, list) and not field.isdecimal():
        return [_field(part, field, path) for part in value]
    try:
        return value[int(field)] if isinstance(value, list) else value[field]
    except (KeyError, IndexError, TypeError):
        raise ToolError(f"{path} is not there: no {field!r}.") from None


def _compare(op: str, left: Any, right: Any) -> bool:
    if op in ("eq", "ne"):
        return bool((left == right) == (op == "eq"))
    if op in ("contains", "not_contains"):
        if not isinstance(left, list):
            left, right = as_text(left), as_text(right)
        return bool((right in left) == (op == "contains"))
    if op in ("starts", "ends"):
        text, part = as_text(left), as_text(right)
        return text.startswith(part) if op == "starts" else text.endswith(part)
    if not (isinstance(left, str) and isinstance(right, str)):
        left, right = _number(left), _number(right)
    compared = {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}
    return bool(compared[op])


def _number(value: Any) -> float:
    try:
        number = float(value.replace(",", "").strip() if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise ToolError(f"{json.dumps(value)[:100]} is no number.") from None
    if not math.isfinite(number):
        raise ToolError(f"{value} is no finite number.")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _lines(value: str) -> list[str]:
    return [line for line in value.splitlines() if line.strip()]


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Functions of one text work on each text of a list, too."""
    return lambda value: (
        [_each(function)(part) for part in value] if isinstance(value, list) else function(value)
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("it is no list")
    return value


def _unique(value: Any) -> list[Any]:
    return list({json.dumps(part, sort_keys=True): part for part in _listed(value)}.values())


def _flat(value: Any) -> list[Any]:
    return [p for part in _listed(value) for p in (part if isinstance(part, list) else [part])]


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "lines": _each(_lines),
    "json": _each(json.loads),
    "number": _each(_number),
    "trim": _each(lambda value: value.strip()),
    "quote": _each(lambda value: shlex.quote(as_text(value))),
    "count": len,
    "first": lambda value: _listed(value)[0],
    "last": lambda value: _listed(value)[-1],
    "sum": lambda value: sum(_number(part) for part in _listed(value)),
    "min": lambda value: min(_listed(value)),
    "max": lambda value: max(_listed(value)),
    "unique": _unique,
    "sort": lambda value: sorted(_listed(value)),
    "flat": _flat,
    "join": lambda value: "\n".join(as_text(part) for part in _listed(value)),
}
