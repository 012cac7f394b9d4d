"""Ranking tools, and choosing examples of their inputs."""

from __future__ import annotations

import pytest

from bench.tools_parts.catalog import catalog, queries
from llmos_workers.contracts.tools import Effect, ToolCall, ToolSpec
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.tools.examples import MAX_EXAMPLE_CHARS, ToolExampleGenerator
from llmos_workers.execution.tools.files import WriteTool
from llmos_workers.execution.tools.search_engine import ToolSearchEngine, stem, words


@pytest.fixture(scope="module")
def engine() -> ToolSearchEngine:
    return ToolSearchEngine(catalog())


def top(engine: ToolSearchEngine, query: str, k: int = 5) -> list[str]:
    return [found.spec.name for found in engine.search_tools(query, k)]


def test_names_are_read_in_any_case_style():
    assert (
        words("sendDirectMessage") == words("send_direct-message") == words("send DirectMessages")
    )
    assert words("HTTPServer") == [stem("http"), stem("server")]


def test_a_tool_s_name_or_its_very_words_find_it_first(engine):
    assert [top(engine, spec.name, 1) for spec in catalog()] == [[s.name] for s in catalog()]
    found = [spec.name in top(engine, spec.description, 1) for spec in catalog()]
    assert sum(found) >= 0.99 * len(found)


def test_nothing_in_common_finds_nothing(engine):
    assert top(engine, "xyzzy qwertz") == []
    assert top(engine, "") == top(engine, "how do I get to my") == []


def test_the_order_does_not_hang_on_the_order_of_the_tools(engine):
    turned = ToolSearchEngine(reversed(catalog()))
    assert [top(turned, query) for query, _ in queries()] == [top(engine, q) for q, _ in queries()]


def test_words_alone_find_most_and_with_meanings_nearly_all():
    """The floor of what bench.tools prints; its queries were written before the ranking."""
    from llmos_workers.learning.matching.embedder import bundled_embedder
    from llmos_workers.runtime_tools import embed_with

    def rate(engine: ToolSearchEngine) -> float:
        asked = queries()
        return sum(bool(right & set(top(engine, query))) for query, right in asked) / len(asked)

    assert rate(ToolSearchEngine(catalog())) >= 0.75
    assert rate(ToolSearchEngine(catalog(), embed=embed_with(bundled_embedder()))) >= 0.95


# --- examples --------------------------------------------------------------------------------

WRITE = WriteTool.spec
PICK = ToolSpec(
    name="Pick",
    description="d",
    input_schema={
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    effect=Effect.READ,
    informative=True,
)


def trace(*inputs: dict, ok: bool = True, name: str = "Pick", **facts) -> ExecutionTrace:
    steps = tuple(TraceStep(call=ToolCall(name=name, arguments=i), ok=ok) for i in inputs)
    return ExecutionTrace(
        trace_id="t", goal_signature="0" * 16, goal_text="g", steps=steps, **facts
    )


def examples(*traces: ExecutionTrace, most: int = 3) -> list[dict]:
    return ToolExampleGenerator(most).generate_examples([PICK, WRITE], traces).get("Pick", [])


def test_examples_are_the_most_used_input_and_those_least_like_it():
    same = [trace({"a": "report one"})] * 3
    near, other = trace({"a": "report two"}), trace({"a": "quite different", "b": 3})
    assert examples(*same, near, other, most=2) == [
        {"a": "report one"},
        {"a": "quite different", "b": 3},
    ]
    assert len(examples(*same, near, other, trace({"a": "x", "c": "y"}))) == 3


@pytest.mark.parametrize(
    "bad",
    [
        trace({"a": "x"}, ok=False),
        trace({"a": "x"}, proved=False),
        trace({"a": "x"}, tainted=True),
        trace({"a": "x"}, usage_count=2, success_count=1),
        trace({"b": 1}),
        trace({"a": "x", "d": 1}),
        trace({"a": "key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"}),
        trace({"a": "x" * MAX_EXAMPLE_CHARS}),
        trace({"a": "x"}, name="Gone"),
    ],
    ids=["failed", "unproved", "tainted", "unsure", "lacks", "unknown", "secret", "long", "gone"],
)
def test_what_does_not_serve_as_an_example_is_left_out(bad):
    assert examples(bad) == []


def test_the_same_traces_give_the_same_examples():
    some = [trace({"a": f"{n} things", "b": n}) for n in range(9)]
    assert examples(*some) == examples(*reversed(some))
