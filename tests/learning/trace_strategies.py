"""Hypothesis strategies for traces with nasty text in every place."""

from __future__ import annotations

from hypothesis import strategies as st

from llmos_workers.contracts.outcome import FileDigest, Usage
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import (
    Check,
    ExecutionTrace,
    Reference,
    Slot,
    SlotType,
    TraceStep,
)

NASTY = [
    "---", "---\n", "\n---\n", "```", "```json\n[]\n```", "## Tool Calls (PTC)\n\n```json\n[]\n```",
    "## Tool Calls (PTC)", "\r\n", "a\r\nb\rc", " leading", "trailing ", "\n\nlead", "tail\n\n",
    "\ttab", "a\n  indented\n\tTabbed\n", "'\"\\", "key: value", "# comment", "!!python/object:os",
    "&anchor", "*alias", "null", "yes", "0x1F", "1e3", "1:30:00", "2026-11-21", "~", "[1, 2]", "{}",
    "\u2028line\u2029par\x85nel", "\ufeffbom", "\ufffe", "😀", "\x07\x1b[31m", "é\u0301",
    "%YAML 1.2",
    "...", "\n...\n", "<<", "=", "- item", "? q", "|", ">", "@at", "a: b\n---\nc",
    "12e4567890123456",
]  # fmt: skip

plain = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
text = st.one_of(
    plain,
    st.sampled_from(NASTY),
    st.lists(st.one_of(plain, st.sampled_from(NASTY)), max_size=5).map("\n".join),
)
floats = st.floats(allow_nan=False, allow_infinity=False, min_value=0)
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), text,
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
digests = st.builds(
    FileDigest,
    path=text,
    digest=st.one_of(st.none(), st.just("ab" * 32)),
    size=st.integers(0, 2**53),
)
files = st.lists(digests, max_size=2).map(tuple)
steps = st.builds(
    TraceStep,
    call=st.builds(
        ToolCall,
        name=text,
        arguments=st.dictionaries(text, json_values, max_size=4),
        call_id=st.sampled_from(["", "toolu_1"]),
    ),
    turn=st.integers(0, 9),
    tool_version=text,
    ok=st.booleans(),
    exit_code=st.one_of(st.none(), st.integers(-64, 255)),
    output=text,
    output_digest=st.just("cd" * 32),
    informative=st.booleans(),
    said=st.sampled_from(["", "ef" * 32]),
    references=st.lists(
        st.builds(
            Reference,
            source=st.integers(0, 9),
            argument=st.lists(st.one_of(text, st.integers(0, 9)), max_size=3).map(tuple),
            value=text,
        ),
        max_size=2,
    ).map(tuple),
    reads=files,
    writes=files,
    duration_ms=floats,
)
slots = st.builds(
    Slot, name=text, type=st.sampled_from(SlotType), value=text, declared=st.booleans()
)
texts = st.lists(text, max_size=3).map(tuple)
micro = st.integers(0, 10**15)
traces = st.builds(
    ExecutionTrace,
    trace_id=text,
    project=text,
    version=st.integers(1, 99),
    revision=st.integers(0, 99),
    goal_signature=text,
    goal_text=text,
    aliases=texts,
    vetoes=texts,
    slots=st.lists(slots, max_size=2).map(tuple),
    steps=st.lists(steps, max_size=3).map(tuple),
    checks=st.lists(st.builds(Check, at=st.integers(0, 3), step=steps), max_size=2).map(tuple),
    fixed=st.lists(slots, max_size=2).map(tuple),
    hidden=texts,
    inputs=files,
    ignored_inputs=texts,
    outputs=files,
    answer=text,
    agent=text,
    created_at=text,
    learned_from=text,
    model=text,
    learn_cost_micro=micro,
    learn_usage=st.builds(Usage, input_tokens=st.integers(0, 10**9)),
    learn_duration_s=floats,
    proved=st.booleans(),
    proved_by=st.sampled_from(["", "replay", "supervised"]),
    destructive=st.booleans(),
    tainted=st.booleans(),
    output_summary=text,
    error_notes=text,
    crystallized_into_tool=st.one_of(st.none(), text),
    usage_count=st.integers(0, 10**9),
    success_count=st.integers(0, 10**9),
    failure_streak=st.integers(0, 9),
    total_cost_micro=micro,
    total_saved_micro=micro,
    avg_latency_ms=floats,
    last_used=text,
    evidence=st.dictionaries(
        st.sampled_from(["right_95", "wrong_exact", "right_alias"]), st.integers(1, 99)
    ),
)
