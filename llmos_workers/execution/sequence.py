"""Programs of tool calls: a small language of references, loops and filters, without a model.

A program can do nothing but call tools, and each call goes the way of every other call; how it is
made is the caller's business. Programs end: at most so many steps, calls and characters, no
recursion, no regular expressions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import RUN_TOOLS, ToolResult
from llmos_workers.execution.sequence_schema import SEQUENCE_SPEC
from llmos_workers.execution.sequence_values import Names, check_size, holds, render
from llmos_workers.execution.tools.schema import validate

MAX_RETURN_CHARS = 20_000
"""Longest answer that a program gives back; what is beyond is cut off, and the answer says so."""

KINDS = ("tool", "filter", "value")

CallTool = Callable[[int, str, dict[str, Any]], ToolResult]
"""Runs a call: number of the step that makes it, tool, arguments."""


@dataclass
class Program:
    """A checked program, run once."""

    steps: list[dict[str, Any]]
    answer: Any
    max_calls: int = 200
    calls: int = 0
    """How many calls ran."""

    @classmethod
    def parse(cls, given: dict[str, Any], *, max_calls: int = 200) -> Program:
        """Raises ToolError naming what is wrong."""
        faults = validate(SEQUENCE_SPEC.input_schema, given) or list(_faults(given["steps"]))
        if faults:
            raise ToolError(f"the program cannot be run: {'; '.join(faults[:5])}.")
        check_size(given)
        return cls(given["steps"], given["return"], max_calls)

    def run(self, call: CallTool) -> ToolResult:
        """The answer as text. Raises what ``call`` raises, and ToolError for a fault in the
        program, a call that failed, or a limit.
        """
        names: Names = {}
        for number, step in enumerate(self.steps):
            try:
                names[step["id"]] = self._step(number, step, names, call)
            except ToolError as error:
                raise ToolError(
                    f"step {step['id']!r}: {error.message} ({self.calls} calls ran.)"
                ) from None
        return _answer(render(self.answer, names))

    def _step(self, number: int, step: dict[str, Any], names: Names, call: CallTool) -> Any:
        if "if" in step and not holds(step["if"], names):
            return None
        if "value" in step:
            return check_size(render(step["value"], names))
        if "filter" in step:
            kept = _list(render(step["filter"], names), "filter")
            return [item for item in kept if holds(step["where"], names | {"item": item})]
        if "for_each" not in step:
            return self._call(number, step, names, call)
        every = _list(render(step["for_each"], names), "for_each")
        if self.calls + len(every) > self.max_calls:
            raise ToolError(f"more than {self.max_calls} calls.", fix="Filter the list first.")
        return [
            self._call(number, step, names | {"item": item, "index": at}, call) | {"item": item}
            for at, item in enumerate(every)
        ]

    def _call(
        self, number: int, step: dict[str, Any], names: Names, call: CallTool
    ) -> dict[str, Any]:
        if self.calls >= self.max_calls:
            raise ToolError(f"more than {self.max_calls} calls.")
        arguments = check_size(render(step.get("arguments", {}), names))
        self.calls += 1
        result = call(number, step["tool"], arguments)
        if not result.ok and step.get("on_error", "stop") == "stop":
            shown = "\n".join(filter(None, (result.error, result.output[:2_000])))
            where = f" for {json.dumps(names['item'])[:200]}" if "item" in names else ""
            raise ToolError(f"{step['tool']} failed{where}: {shown}")
        return {
            "ok": result.ok,
            "output": result.output,
            "error": result.error or "",
            "exit_code": result.exit_code,
        }


def _faults(steps: list[dict[str, Any]]) -> Iterator[str]:
    known: set[str] = set()
    for step in steps:
        name = step["id"]
        if not name.isidentifier() or name in ("item", "index") or name in known:
            yield f"{name!r} is no fresh name of letters, digits and underscores"
        known.add(name)
        if sum(kind in step for kind in KINDS) != 1:
            yield f"{name!r} needs one of {', '.join(KINDS)}"
        if ("filter" in step) != ("where" in step):
            yield f"{name!r}: filter and where belong together"
        if "tool" not in step and step.keys() & {"arguments", "for_each", "on_error"}:
            yield f"{name!r}: arguments, for_each and on_error belong to a tool"
        if step.get("tool") in RUN_TOOLS:
            yield f"{name!r}: {step['tool']} cannot be called in a program"


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ToolError(f"{what} needs a list, not {json.dumps(value)[:100]}.")
    return value


def _answer(value: Any) -> ToolResult:
    check_size(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_RETURN_CHARS:
        return ToolResult(ok=True, output=text)
    cut = f"{text[:MAX_RETURN_CHARS]}\n[truncated: {len(text):,} characters in all]"
    return ToolResult(ok=True, output=cut, truncated=True)
