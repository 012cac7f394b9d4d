"""Programs of tool calls: what they can say, and that they always end."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import ToolResult
from llmos_workers.execution.sequence import MAX_RETURN_CHARS, Program
from llmos_workers.execution.sequence_values import render
from llmos_workers.execution.tools.schema import check_schema, validate


def run(*steps: dict[str, Any], answer: Any, outputs: dict[str, str] | None = None, **limits: int):
    """The answer, and the calls that ran. A call gives its tool's text of ``outputs``."""
    made: list[tuple[str, dict[str, Any]]] = []

    def call(_number: int, name: str, arguments: dict[str, Any]) -> ToolResult:
        made.append((name, arguments))
        said = (outputs or {}).get(name, json.dumps(arguments))
        return ToolResult(ok=not said.startswith("FAIL"), output=said, error="no")

    result = Program.parse({"steps": list(steps), "return": answer}, **limits).run(call)
    return result.output, made


def value(of: Any) -> dict[str, Any]:
    return {"id": "v", "value": of}


@pytest.mark.parametrize(
    ("of", "reference", "expected"),
    [
        ("a\n\nb", "v | lines | count", 2),
        ('{"rows": [{"n": "1,000"}]}', "v | json", {"rows": [{"n": "1,000"}]}),
        ([{"n": "1,000"}, {"n": 2.5}], "v.n | sum", 1002.5),
        ([3, 1, 2, 3], "v | unique | sort", [1, 2, 3]),
        ([[1], [2, 3]], "v | flat | last", 3),
        (["a", "b"], "v | join", "a\nb"),
        ("it's", "v | quote", "'it'\"'\"'s'"),
        ({"a": [{"b": 7}]}, "v.a.0.b", 7),
        ([" 1 ", "2"], "v | trim | number | max", 2),
    ],
)  # fmt: skip
def test_references_reach_into_values_and_functions_work_on_them(of, reference, expected):
    output, _ = run(value(of), answer="${{ " + reference + " }}")
    assert (output if isinstance(expected, str) else json.loads(output)) == expected


def test_a_reference_inside_a_text_becomes_text_and_a_doubled_dollar_stands_for_itself():
    output, _ = run(value([1]), answer="a ${{ v }} b $${{ v }} $HOME ${v}")
    assert output == "a [1] b ${{ v }} $HOME ${v}"


def test_a_loop_calls_once_per_element_and_a_filter_keeps_what_fits():
    output, made = run(
        {"id": "each", "for_each": [1, 20, 3], "tool": "T", "arguments": {"n": "${{ item }}"}},
        {
            "id": "big",
            "filter": "${{ each }}",
            "where": [{"left": "${{ item.item }}", "op": "gt", "right": "2"}],
        },
        answer="${{ big.item }}",
    )
    assert json.loads(output) == [20, 3]
    assert [arguments for _, arguments in made] == [{"n": 1}, {"n": 20}, {"n": 3}]


def test_a_step_with_a_condition_that_does_not_hold_is_left_out():
    unless = [{"left": "${{ v | count }}", "op": "eq", "right": 1}]
    output, made = run(value([]), {"id": "a", "if": unless, "tool": "T"}, answer="${{ a }}")
    assert (output, made) == ("null", [])


def test_a_failed_call_ends_the_program_and_says_where():
    loop = {"id": "a", "for_each": ["x", "y"], "tool": "T"}
    with pytest.raises(ToolError, match=r"step 'a': T failed for \"x\": no\s+FAIL.*1 calls ran"):
        run(loop, answer="", outputs={"T": "FAIL"})
    output, made = run(loop | {"on_error": "continue"}, answer="${{ a.ok }}", outputs={"T": "FAIL"})
    assert (json.loads(output), len(made)) == ([False, False], 2)


@pytest.mark.parametrize(
    "steps",
    [
        [{"id": "a"}],
        [{"id": "a", "tool": "T", "value": 1}],
        [{"id": "a", "value": 1}, {"id": "a", "value": 2}],
        [{"id": "item", "value": 1}],
        [{"id": "a b", "value": 1}],
        [{"id": "a", "filter": []}],
        [{"id": "a", "value": 1, "for_each": []}],
        [{"id": "a", "tool": "run_sequence"}],
        [{"id": "a", "tool": "search_tools"}],
        [{"id": str("a" * n), "value": 1} for n in range(1, 52)],
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(steps):
    with pytest.raises(ToolError, match="cannot be run"):
        Program.parse({"steps": steps, "return": ""})


@pytest.mark.parametrize(
    "answer", ["${{ nothing }}", "${{ v.x }}", "${{ v | nope }}", "${{ v | sum }}"]
)
def test_what_is_not_there_is_named(answer):
    with pytest.raises(ToolError, match=r"there is no|not there|cannot be applied"):
        run(value("text"), answer=answer)


def test_a_program_that_doubles_its_values_is_stopped():
    doubling = [{"id": f"v{n}", "value": ["${{ v" + str(n - 1) + " }}"] * 8} for n in range(1, 20)]
    with pytest.raises(ToolError, match="grew too large"):
        run({"id": "v0", "value": "x" * 100}, *doubling, answer="")


def test_more_calls_than_allowed_are_refused_before_the_loop_begins():
    with pytest.raises(ToolError, match=r"more than 3 calls.*0 calls ran"):
        run({"id": "a", "for_each": [1, 2, 3, 4], "tool": "T"}, answer="", max_calls=3)


def test_a_long_answer_is_cut_and_says_so():
    output, _ = run(value("x" * 50_000), answer="${{ v }}")
    assert len(output) < MAX_RETURN_CHARS + 100
    assert "50,000 characters in all" in output


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_values_without_references_stay_as_they_are(given_value):
    if "${{" not in json.dumps(given_value):
        assert render(given_value, {}) == given_value


@given(st.text(max_size=60))
def test_any_text_as_a_reference_gives_a_value_or_a_clear_error(text):
    with contextlib.suppress(ToolError):
        render("${{" + text + "}}", {"a": [1, {"b": "x"}]})


def test_the_schema_that_the_model_sees_is_one_that_is_enforced():
    from llmos_workers.execution.sequence_schema import SEQUENCE_SPEC

    assert check_schema(SEQUENCE_SPEC.input_schema) == []
    example = SEQUENCE_SPEC.description.partition("Example: ")[2]
    assert validate(SEQUENCE_SPEC.input_schema, json.loads(example)) == []
