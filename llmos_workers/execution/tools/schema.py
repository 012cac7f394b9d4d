"""Arguments against a tool's JSON schema, with messages a model can act on.

The subset of JSON Schema that tools here use. A schema with any other keyword is refused when
the tool is registered: a rule that is not enforced would be worse than none.
"""

from __future__ import annotations

import math
from typing import Any

_NOTES = frozenset({"description", "title", "default", "examples"})
_KEYWORDS = _NOTES | {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def check_schema(schema: object, where: str = "schema") -> list[str]:
    """What in a schema this module cannot enforce; empty when nothing."""
    if not isinstance(schema, dict):
        return [f"{where} is not an object"]
    faults = [f"{where}: keyword {key!r} is not supported" for key in set(schema) - _KEYWORDS]
    kind = schema.get("type")
    if kind is not None and kind not in _TYPES:
        faults.append(f"{where}: type {kind!r} is not known")
    for name, part in schema.get("properties", {}).items():
        faults += check_schema(part, f"{where}.{name}")
    if "items" in schema:
        faults += check_schema(schema["items"], f"{where}[]")
    if schema.get("additionalProperties", False) not in (True, False):
        faults.append(f"{where}: additionalProperties must be true or false")
    return sorted(faults)


def validate(schema: dict[str, Any], value: object, where: str = "") -> list[str]:
    """What is wrong with ``value``, one sentence each; empty when nothing."""
    name = where or "the arguments"
    kind = schema.get("type")
    if kind is not None and not _is(kind, value):
        return [f"{name} must be {_a(kind)}, not {_shown(value)}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{name} must be one of {schema['enum']}, not {_shown(value)}"]
    if isinstance(value, str):
        return _size(schema, len(value), name, ("minLength", "maxLength", "characters"))
    if isinstance(value, list):
        return _array(schema, value, name)
    if isinstance(value, dict):
        return _object(schema, value, where)
    return [] if value is None or isinstance(value, bool) else _number(schema, value, name)


def _is(kind: str, value: object) -> bool:
    """JSON's types: a bool is no number, NaN is none either, 2.0 is an integer."""
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float):
        return math.isfinite(value) and (
            kind == "number" or (kind == "integer" and value.is_integer())
        )
    return isinstance(value, _TYPES[kind])


def _number(schema: dict[str, Any], value: Any, name: str) -> list[str]:
    if "minimum" in schema and value < schema["minimum"]:
        return [f"{name} must be at least {schema['minimum']}, not {value}"]
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        return [f"{name} must be more than {schema['exclusiveMinimum']}, not {value}"]
    if "maximum" in schema and value > schema["maximum"]:
        return [f"{name} must be at most {schema['maximum']}, not {value}"]
    return []


def _size(schema: dict[str, Any], size: int, name: str, words: tuple[str, str, str]) -> list[str]:
    least, most, unit = words
    if size < schema.get(least, 0):
        return [f"{name} must have at least {schema[least]} {unit}"]
    if most in schema and size > schema[most]:
        return [f"{name} must have at most {schema[most]} {unit}, not {size}"]
    return []


def _array(schema: dict[str, Any], value: list[Any], name: str) -> list[str]:
    faults = _size(schema, len(value), name, ("minItems", "maxItems", "items"))
    if "items" in schema:
        for index, item in enumerate(value):
            faults += validate(schema["items"], item, f"{name}[{index}]")
    return faults


def _object(schema: dict[str, Any], value: dict[Any, Any], where: str) -> list[str]:
    properties: dict[str, Any] = schema.get("properties", {})
    prefix = f"{where}." if where else ""
    faults = [
        f"{prefix}{name} is missing" for name in schema.get("required", []) if name not in value
    ]
    if schema.get("additionalProperties", True) is False:
        known = ", ".join(properties) or "none"
        faults += [
            f"{prefix}{name} is not a known argument (known: {known})"
            for name in value
            if name not in properties
        ]
    for name, part in properties.items():
        if name in value:
            faults += validate(part, value[name], f"{prefix}{name}")
    return faults


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
