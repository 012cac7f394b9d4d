"""What spans of tool calls say: the name of a tool that is there, never a model's own words."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.spans import traced_tool
from llmos_workers.kernel import telemetry


class Told(telemetry.Span):
    def __init__(self) -> None:
        self.facts: dict[str, object] = {}
        self.name = self.failed = ""

    def set(self, facts) -> None:
        self.facts |= facts

    def fail(self, kind: str) -> None:
        self.failed = kind


@pytest.mark.parametrize(("name", "shown"), [("Read", "Read"), ("my secret plan", "(unknown)")])
def test_only_tools_that_are_there_are_named(monkeypatch, name, shown):
    told = Told()

    def span(name: str, facts, **_):
        told.name = name
        told.set(facts)
        return nullcontext(told)

    monkeypatch.setattr(telemetry, "span", span)
    gate = SimpleNamespace(registry=SimpleNamespace(find=lambda n: n if n == "Read" else None))
    context = SimpleNamespace(goal_id="g", source="model")
    refused = ToolResult(ok=False, error="my secret plan", denied_by="grant")
    call = traced_tool(lambda *_: refused)
    call(gate, ToolCall(name=name, arguments={"path": "my secret plan"}), context)
    assert told.name == f"execute_tool {shown}"
    assert (told.failed, told.facts["llmos.denied_by"]) == ("denied", "grant")
    assert "my secret plan" not in str(told.facts)
