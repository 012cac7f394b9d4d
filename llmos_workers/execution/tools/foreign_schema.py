"""JSON schemas of others (pydantic, MCP servers) in the subset that is enforced here.

What cannot be expressed exactly is widened to ``anything`` only below the top: the tool's own
check decides there, as it would for any other caller.
"""

from __future__ import annotations

from typing import Any

from llmos_workers.execution.tools.schema import check_schema

MAX_DEPTH = 8

_DROPPED = frozenset({"title", "$schema", "$id", "$comment", "$defs", "definitions", "format"})
"""Notes; ``format`` is one by the standard."""


def simplified(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with references put in place and without what is not enforced here."""
    definitions = schema.get("$defs") or schema.get("definitions") or {}
    return _part(schema, definitions, 0)


def _part(schema: Any, definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return {}
    if isinstance(reference := schema.get("$ref"), str):
        named = definitions.get(reference.rpartition("/")[2], {})
        return _part({**named, **_without(schema, "$ref")}, definitions, depth + 1)
    for word in ("anyOf", "oneOf"):
        if isinstance(choices := schema.get(word), list):
            kinds = [choice for choice in choices if choice != {"type": "null"}]
            rest = _without(schema, word)
            return _part(
                {**kinds[0], **rest} if len(kinds) == 1 else _note(rest), definitions, depth
            )
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        return _part(
            {**schema, "type": kinds[0]} if len(kinds) == 1 else _note(schema), definitions, depth
        )
    made = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if isinstance(properties := made.get("properties"), dict):
        made["properties"] = {
            name: _part(inner, definitions, depth + 1) for name, inner in properties.items()
        }
    if "items" in made:
        made["items"] = _part(made["items"], definitions, depth + 1)
    if not isinstance(made.get("additionalProperties", True), bool):
        made["additionalProperties"] = True
    bare = {key: value for key, value in made.items() if key not in ("properties", "items")}
    for fault in check_schema(bare):
        for key in list(made):
            if repr(key) in fault:
                del made[key]
    return made


def _without(schema: dict[str, Any], word: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != word}


def _note(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key == "description"}
