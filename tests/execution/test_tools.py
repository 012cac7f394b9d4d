"""The built-in tools: what they do, what they say they read and wrote, where they stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import MAX_OUTPUT_CHARS, ToolContext
from llmos_workers.execution.tools.globs import glob_pattern
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.schema import check_schema, validate
from llmos_workers.execution.tools.search import MAX_RESULTS
from llmos_workers.kernel.workspace import digest_file


@pytest.fixture
def run(registry: ToolRegistry, tool_context: ToolContext) -> Any:
    def call(name: str, **arguments: Any) -> ToolResult:
        return registry.get(name).run(arguments, tool_context)

    return call


def test_write_then_read_gives_the_same_text_and_digests(run: Any, area: Path) -> None:
    text = "héllo\r\n\n  tail  "
    written = run("Write", path="a/b.txt", content=text)
    assert written.writes == (digest_file(area, "a/b.txt"),)
    read = run("Read", path="./a/b.txt")
    assert read.output == text
    assert read.reads == written.writes


def test_read_shows_lines_and_says_when_it_cut(run: Any, area: Path) -> None:
    (area / "lines").write_text("".join(f"{n}\n" for n in range(1, 50_001)))
    part = run("Read", path="lines", offset=3, limit=2)
    assert (part.output, part.truncated) == ("3\n4\n", False)
    whole = run("Read", path="lines")
    assert whole.truncated
    assert len(whole.output) < MAX_OUTPUT_CHARS + 200
    assert "50,000 lines" in whole.output
    assert part.reads == whole.reads == (digest_file(area, "lines"),)
    with pytest.raises(ToolError, match="past its end"):
        run("Read", path="lines", offset=50_001)


def test_read_handles_missing_binary_and_invalid_files(run: Any, area: Path) -> None:
    missing = run("Read", path="none")
    assert not missing.ok
    assert missing.reads[0].digest is None
    (area / "bin").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(ToolError, match="binary"):
        run("Read", path="bin")
    (area / "latin").write_bytes(b"caf\xe9")
    assert run("Read", path="latin").output == "caf\ufffd"


def test_edit_replaces_once_and_fails_clearly_the_second_time(run: Any, area: Path) -> None:
    (area / "f").write_text("one two")
    result = run("Edit", path="f", old="one", new="1")
    assert (area / "f").read_text() == "1 two"
    assert result.reads[0].digest != result.writes[0].digest
    with pytest.raises(ToolError, match="does not occur"):
        run("Edit", path="f", old="one", new="1")
    (area / "f").write_text("x x")
    with pytest.raises(ToolError, match="2 times"):
        run("Edit", path="f", old="x", new="y")
    run("Edit", path="f", old="x", new="y", all=True)
    assert (area / "f").read_text() == "y y"


def test_glob_and_grep_are_sorted_capped_and_do_not_follow_links(run: Any, area: Path) -> None:
    for name in ("b.py", "a.py", "sub/c.py", "sub/d.txt"):
        (area / name).parent.mkdir(exist_ok=True)
        (area / name).write_text(f"name = {name}\n")
    (area.parent / "state" / "hidden.py").write_text("name\n")
    (area / "out").symlink_to(area.parent / "state")
    assert run("Glob", pattern="**/*.py").output == "a.py\nb.py\nsub/c.py"
    assert run("Glob", pattern="*.{py,txt}").output == "a.py\nb.py"
    assert run("Grep", pattern="^name", path="sub").output == (
        "sub/c.py:1:name = sub/c.py\nsub/d.txt:1:name = sub/d.txt"
    )
    assert [r.path for r in run("Grep", pattern="c.py").reads] == ["sub/c.py"]
    (area / "many").write_text("hit\n" * (MAX_RESULTS + 5))
    assert run("Grep", pattern="hit").truncated
    with pytest.raises(ToolError):
        run("Glob", pattern="../**")
    with pytest.raises(ToolError, match="regular expression"):
        run("Grep", pattern="(")


@given(st.lists(st.sampled_from(["a", "b.py", "c-d"]), min_size=1, max_size=4))
def test_two_stars_match_any_depth(parts: list[str]) -> None:
    path = "/".join(parts)
    assert glob_pattern("**").fullmatch(path)
    assert glob_pattern(f"**/{parts[-1]}").fullmatch(path)
    assert bool(glob_pattern("*").fullmatch(path)) == (len(parts) == 1)


def test_bash_reports_reads_writes_and_exit_code(run: Any, area: Path) -> None:
    run("Write", path="in.csv", content="a,b\n")
    run("Write", path="gone", content="x")
    result = run("Bash", command="cat in.csv *.csv > out.txt; rm gone; echo done; exit 3")
    assert (result.ok, result.exit_code, result.error) == (False, 3, "exit code 3")
    assert result.output == "done\n"
    assert {f.path for f in result.reads} == {"in.csv", "gone"}
    assert {f.path: f.digest is None for f in result.writes} == {"out.txt": False, "gone": True}


def test_bash_sees_writes_that_hide_behind_an_old_time(run: Any, area: Path) -> None:
    run("Write", path="f", content="aaa")
    result = run("Bash", command="touch -r f ref; printf bbb > f; touch -r ref f; rm ref")
    assert [f.path for f in result.writes] == ["f"]


def test_files_of_bash_and_of_write_can_be_changed_by_each_other(run: Any, area: Path) -> None:
    run("Bash", command="mkdir d; echo 1 > d/f")
    run("Write", path="d/f", content="2\n")
    run("Write", path="d/g", content="#!/bin/sh\necho 3\n")
    assert run("Bash", command="echo x >> d/f; chmod +x d/g; d/g; cat d/f").output == "3\n2\nx\n"


def test_bash_ends_at_its_timeout_and_at_the_deadline(run: Any, tool_context: ToolContext) -> None:
    assert "0.3 s" in (run("Bash", command="sleep 60", timeout=0.3).error or "")
    tool_context.deadline = tool_context.clock.steady() - 1
    with pytest.raises(ToolError, match="deadline"):
        run("Bash", command="true")


SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": 5},
        "s": {"type": "string", "enum": ["a", "b"]},
        "l": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    },
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "n is missing"),
        ({"n": "1"}, "n must be an integer"),
        ({"n": True}, "n must be an integer"),
        ({"n": 6}, "at most 5"),
        ({"n": 1, "s": "c"}, "one of"),
        ({"n": 1, "l": [1, "x"]}, r"l\[1\] must be a number"),
        ({"n": 1, "l": [1, 2, 3]}, "at most 2 items"),
        ({"n": 1, "m": 2}, "m is not a known argument"),
        ({"n": float("nan")}, "n must be"),
        ([], "the arguments must be an object"),
    ],
)
def test_wrong_arguments_are_named(value: Any, words: str) -> None:
    import re

    assert any(re.search(words, fault) for fault in validate(SCHEMA, value))


def test_right_arguments_pass() -> None:
    assert validate(SCHEMA, {"n": 2, "s": "a", "l": [1, 2.5]}) == []


def test_a_schema_with_a_rule_that_is_not_enforced_is_refused() -> None:
    assert check_schema({"type": "object", "properties": {"a": {"pattern": "x"}}})

    class Odd:
        spec = ToolSpec(
            name="Odd",
            description="",
            input_schema={"type": "object", "patternProperties": {}},
            effect=Effect.READ,
            informative=True,
        )

        def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
            raise NotImplementedError

    with pytest.raises(ConfigError, match="patternProperties"):
        ToolRegistry([Odd()])
