"""``run_sequence`` as the model sees it."""

from __future__ import annotations

from llmos_workers.contracts.tools import RUN_SEQUENCE, Effect, ToolSpec

MAX_STEPS = 50

OPERATORS = ("eq", "ne", "lt", "le", "gt", "ge", "contains", "not_contains", "starts", "ends")
FUNCTIONS = (
    "lines", "json", "number", "trim", "count", "first", "last", "sum", "min", "max", "unique",
    "sort", "flat", "join", "quote",
)  # fmt: skip

_CONDITIONS = {
    "type": "array",
    "description": "All must hold: {left, op, right}.",
    "minItems": 1,
    "maxItems": 10,
    "items": {
        "type": "object",
        "properties": {
            "left": {},
            "op": {"type": "string", "enum": list(OPERATORS)},
            "right": {},
        },
        "required": ["left", "op", "right"],
        "additionalProperties": False,
    },
}

SEQUENCE_SPEC = ToolSpec(
    name=RUN_SEQUENCE,
    description="Run many tool calls as one program and get back only what `return` asks for: "
    "the results between stay out of this conversation. Use it when several calls follow a plan "
    "you know already, above all the same call for many items. Each step has an `id` and one of: "
    "`tool` with `arguments` (and `for_each`: once per element, which is `item`); `filter`: a "
    "list, with `where`; `value`: anything made of earlier values. `${{ id.field | function }}` "
    "stands for an earlier value: a tool's is {ok, output, error, exit_code}, a loop's is a list "
    "of those with `item`; a field of a list is the list of that field. Functions: "
    + ", ".join(FUNCTIONS)
    + " (`quote` for a shell word). A failed call ends the program unless `on_error` is "
    'continue. Example: {"steps": [{"id": "files", "tool": "Glob", "arguments": {"pattern": '
    '"*.csv"}}, {"id": "texts", "for_each": "${{ files.output | lines }}", "tool": "Read", '
    '"arguments": {"path": "${{ item }}"}}, {"id": "bad", "filter": "${{ texts }}", "where": '
    '[{"left": "${{ item.output }}", "op": "contains", "right": "ERROR"}]}], "return": '
    '{"bad": "${{ bad.item }}"}}',
    input_schema={
        "type": "object",
        "properties": {
            "steps": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_STEPS,
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "minLength": 1, "maxLength": 40},
                        "tool": {"type": "string"},
                        "arguments": {"type": "object"},
                        "for_each": {},
                        "filter": {},
                        "where": _CONDITIONS,
                        "value": {},
                        "if": _CONDITIONS,
                        "on_error": {"type": "string", "enum": ["stop", "continue"]},
                    },
                    "required": ["id"],
                    "additionalProperties": False,
                },
            },
            "return": {},
        },
        "required": ["steps", "return"],
        "additionalProperties": False,
    },
    effect=Effect.READ,  # by itself it does nothing: each of its calls passes the gate
    informative=True,
)
