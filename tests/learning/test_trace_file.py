"""The Markdown form of a trace: nothing is lost, and what is wrong is named."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings

from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.learning import trace_file
from llmos_workers.learning.trace_fields import without_counters
from llmos_workers.learning.trace_file import from_markdown, to_markdown, with_front_matter
from tests.learning.trace_strategies import NASTY, traces

SAMPLE = ExecutionTrace(
    trace_id="a3f7c9e1b2d4f8a6",
    goal_signature="a3f7c9e1b2d4f8a6",
    goal_text="Create a Python calculator\nwith tests",
    slots=(Slot(name="language", value="Python"),),
    steps=(
        TraceStep(
            call=ToolCall(name="Write", arguments={"path": "c.py", "content": "x = 1\n```\n---\n"}),
            tool_version="0123456789ab",
            writes=(FileDigest(path="c.py", digest="ab" * 32, size=6),),
        ),
        TraceStep(
            call=ToolCall(name="Bash", arguments={"command": "python c.py"}),
            turn=1,
            output="ok\n",
            exit_code=0,
            informative=True,
        ),
    ),
    answer="Done.\n\n- c.py",
    created_at="2026-11-21T10:30:00Z",
    learn_cost_micro=450_001,
    learn_duration_s=12.5,
    usage_count=3,
    success_count=2,
)


def unused(trace: ExecutionTrace) -> ExecutionTrace:
    """What the file of a trace in use holds."""
    return without_counters(trace).model_copy(update={"revision": trace.revision})


UNUSED = unused(SAMPLE)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(traces)
@example(SAMPLE)
@example(SAMPLE.model_copy(update={"aliases": tuple(NASTY), "vetoes": tuple(NASTY)}))
def test_round_trip_loses_nothing(trace: ExecutionTrace) -> None:
    put_aside = to_markdown(trace, counters=True)
    assert from_markdown(put_aside) == trace
    assert from_markdown(put_aside.encode()) == trace
    text = to_markdown(trace)
    assert from_markdown(text) == unused(trace)
    assert with_front_matter(text, trace) == text


def test_how_often_it_was_used_changes_no_file() -> None:
    used = SAMPLE.model_copy(update={"usage_count": 99, "last_used": "2026-11-22T08:00:00Z"})
    assert to_markdown(used) == to_markdown(SAMPLE)
    assert "usage_count" not in to_markdown(SAMPLE)


def test_a_file_of_a_later_format_is_refused_with_what_to_do() -> None:
    text = to_markdown(SAMPLE).replace("format: 2\n", "format: 99\n", 1)
    with pytest.raises(MalformedFile, match="newer release of llmos wrote it, in format 99"):
        from_markdown(text)


def test_the_file_reads_well_and_has_the_upstream_parts() -> None:
    text = to_markdown(SAMPLE, counters=True)
    for part in ("## Summary", "## Execution Steps", "### Step 1: Write c.py", "Tool: Write"):
        assert part in text
    assert "estimated_cost_usd: 0.450001\n" in text
    assert "created_at: 2026-11-21T10:30:00Z\n" in text
    assert "success_rating: 0.6667\n" in text
    assert "tools_used:\n- Write\n- Bash\n" in text
    assert "goal_text: |-\n  Create a Python calculator\n  with tests\n" in text


def test_fields_keep_their_order() -> None:
    names = re.findall(
        r"^(\w+):", to_markdown(SAMPLE, counters=True).split("\n---\n")[0], re.MULTILINE
    )
    assert names[:4] == ["format", "trace_id", "goal_signature", "goal_text"]
    assert names[-1] == "success_rating"


def test_editing_the_prose_changes_nothing() -> None:
    text = to_markdown(SAMPLE)
    edited = text.replace("## Summary\n", "## Summary\n\nMy own notes.\n---\n```\n")
    assert edited != text
    assert from_markdown(edited) == UNUSED


def test_new_front_matter_keeps_edited_prose() -> None:
    edited = to_markdown(SAMPLE).replace("## Summary\n", "## Summary\n\nMy own notes.\n")
    newer = UNUSED.model_copy(update={"answer": "Done again."})
    text = with_front_matter(edited, newer)
    assert "My own notes." in text
    assert from_markdown(text) == newer


def test_new_front_matter_never_keeps_other_calls() -> None:
    newer = UNUSED.model_copy(update={"steps": SAMPLE.steps[:1]})
    assert from_markdown(with_front_matter(to_markdown(SAMPLE), newer)) == newer


def test_edits_of_front_matter_and_calls_are_read() -> None:
    text = to_markdown(SAMPLE)
    assert from_markdown(text.replace("proved: true", "proved: false")).proved is False
    edited = from_markdown(text.replace('"python c.py"', '"python -W error c.py"'))
    assert edited.steps[1].call.arguments == {"command": "python -W error c.py"}


def test_an_editor_that_writes_crlf_and_a_byte_order_mark_is_understood() -> None:
    text = to_markdown(SAMPLE).replace("\n", "\r\n")
    assert from_markdown(b"\xef\xbb\xbf" + text.encode()) == UNUSED


def line_with(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.split("\n"), 1) if part in line)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version: 1", "version: many", "'version'"),
        ("proved: true", "proved: [1]", "'proved'"),
        ("goal_text: |-", "goal_txt: |-", "goal_t"),
        ("usage_count: 3", "usage_count: -3", "'usage_count'"),
        ("estimated_cost_usd: 0.450001", "estimated_cost_usd: much", "'estimated_cost_usd'"),
        ("estimated_cost_usd: 0.450001", "estimated_cost_usd: 0.00000001", "six decimal"),
        ("estimated_cost_usd: 0.450001", "learn_cost_micro: 450001", "'learn_cost_micro'"),
        ("project: default", "project: 'open", "not YAML"),
        ("project: default", "project: {a", "not YAML"),
        ("project: default", "project: !!python/object/apply:os.system ['id']", "tag"),
        ("project: default", "project: !!str default", "the tag"),
        ("project: default", "project: &a b", "anchors"),
        ("project: default", "project: a\nproject: b", "twice"),
        ("revision: 0", "revision: " + "[" * 50 + "]" * 50, "nested"),
        ('"turn": 1,', '"turn": 1,,', "JSON"),
        ('"turn": 1,', '"turn": "x",', "'turn'"),
        ('"turn": 1,', '"turns": 1,', "'turns'"),
        ('    "name": "Bash",\n', "", "'name'"),
        ("## Tool Calls (PTC)", "## Tool Calls", "missing"),
        ("```json\n[", "```\n[", "needs a block"),
    ],
)
def test_a_fault_is_named_with_its_line(old: str, new: str, reason: str) -> None:
    text = to_markdown(SAMPLE, counters=True)
    assert old in text
    broken = text.replace(old, new, 1)
    with pytest.raises(MalformedFile, match=re.escape(reason)) as caught:
        from_markdown(broken, "traces/x.md")
    assert caught.value.path == "traces/x.md"
    assert caught.value.line > 0
    if old.startswith(("version", "proved", "usage", "estimated")) and "learn" not in new:
        assert caught.value.line == line_with(broken, new)


def test_a_json_fault_names_its_line_in_the_file() -> None:
    broken = to_markdown(SAMPLE).replace('"turn": 1,', '"turn": 1,,')
    with pytest.raises(MalformedFile) as caught:
        from_markdown(broken)
    assert caught.value.line == line_with(broken, '"turn": 1,,')


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "missing", 1),
        ("# a note\n", "missing", 1),
        ("---\nformat: 1\n", "not closed", 1),
        ("---\n- a\n---\n", "name: value", 2),
        ("---\n3: 4\n---\n", "not text", 1),
        (b"---\na: \xff\n", "UTF-8", 2),
        (b"---\na: 1\n---\n## Tool Calls (PTC)\n```json\n[1", "not closed", 5),
        (
            b"---\na: 1\n---\n## Tool Calls (PTC)\n```json\n[1]\n```",
            "unknown field 'a'|must be an",
            6,
        ),
        (b"---\na: 1\n---\n## Tool Calls (PTC)\n```json\n{}\n```", "a list", 6),
    ],
)
def test_a_file_that_is_no_trace_is_refused(text: str | bytes, reason: str, line: int) -> None:
    with pytest.raises(MalformedFile, match=reason) as caught:
        from_markdown(text)
    assert caught.value.line == line


def test_deep_nesting_is_refused_not_a_crash() -> None:
    for deep in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000):
        with pytest.raises(MalformedFile):
            from_markdown(f"---\na: {deep}\n---\n")
    block = "[" * 200_000
    with pytest.raises(MalformedFile, match=r"deeply|does not parse"):
        from_markdown(f"---\na: 1\n---\n## Tool Calls (PTC)\n```json\n{block}\n```")


def test_more_than_the_size_bound_is_neither_read_nor_written() -> None:
    with pytest.raises(MalformedFile, match="at most"):
        from_markdown(b"x" * (trace_file.MAX_BYTES + 1))
    with pytest.raises(MalformedFile, match="at most"):
        to_markdown(SAMPLE.model_copy(update={"answer": "x" * trace_file.MAX_BYTES}))


def test_text_that_is_no_unicode_is_refused_on_writing() -> None:
    with pytest.raises(MalformedFile, match="surrogate"):
        to_markdown(SAMPLE.model_copy(update={"steps": (
            TraceStep(call=ToolCall(name="Write", arguments={"content": "\ud83d"})),
        )}))  # fmt: skip
