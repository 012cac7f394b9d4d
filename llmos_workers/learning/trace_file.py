"""A trace as a Markdown file: YAML front matter, prose for people, and a JSON block of calls.

    ---
    format: 2                 metadata: read back from here, stable order
    goal_text: ...
    ---
    # <goal>
    ## Summary                prose, written for people, never read back
    ## Execution Steps        prose
    ## Tool Calls (PTC)
    ```json                   the calls: read back from here
    [...]
    ```

Writing and reading lose nothing. Editing the prose changes nothing; editing the front matter
or the JSON block changes the trace. Amounts stand in dollars with all six places that matter.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from llmos_workers.contracts.base import unknown_fields
from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.kernel.front_matter import FrontMatterError, dump_front_matter, load_mapping
from llmos_workers.learning.trace_fields import from_fields, to_fields
from llmos_workers.learning.trace_prose import render_prose

MAX_BYTES = 4 * 1024 * 1024
"""Largest trace file that is written or read, in bytes of UTF-8."""

CALLS_HEADING = "## Tool Calls (PTC)"
_FENCE = "```"
_STEP_FIELDS = {"name", "arguments", "call_id"} | (set(TraceStep.model_fields) - {"call"})


def to_markdown(trace: ExecutionTrace, *, counters: bool = False) -> str:
    """The file of a trace; ``counters``: with how often it was used, for one that is put aside.

    Raises MalformedFile when the trace does not fit the size bound or holds text that UTF-8
    cannot express.
    """
    text = f"{_front(trace, counters=counters)}\n{render_prose(trace)}\n{_calls_section(trace)}"
    return _checked(text, trace)


def with_front_matter(old_text: str, trace: ExecutionTrace) -> str:
    """``old_text`` with the front matter of ``trace``; its body, edited prose included, stays.

    Falls back to a fresh file when the body's calls are not those of the trace.
    """
    try:
        _, body, offset = _split(old_text, "")
        same = _read_steps(body, offset, "") == trace.steps
    except MalformedFile:
        same = False
    return _checked(_front(trace) + body, trace) if same else to_markdown(trace)


def from_markdown(text: str | bytes, path: str = "trace") -> ExecutionTrace:
    """Read a trace file. ``path`` is only for messages.

    Raises MalformedFile with path, line (1-based) and reason.
    """
    text = _decode(text, path)
    front, body, offset = _split(text, path)
    try:
        fields = load_mapping(front)
    except FrontMatterError as error:
        raise MalformedFile(path, error.reason, line=error.line + 1) from None
    try:
        trace = ExecutionTrace.model_validate(
            {**from_fields(fields), "steps": _read_steps(body, offset, path)}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise MalformedFile(path, _say(name, first), line=_line_of(front, name)) from None
    except FrontMatterError as error:
        raise MalformedFile(path, error.reason, line=_line_of(front, error.field)) from None
    if unknown := unknown_fields(trace):
        reason = f"unknown field {unknown[0]!r}."
        raise MalformedFile(path, reason, line=_line_of(front, unknown[0]))
    return trace


def _front(trace: ExecutionTrace, *, counters: bool = False) -> str:
    return f"---\n{dump_front_matter(to_fields(trace, counters=counters))}---\n"


def _checked(text: str, trace: ExecutionTrace) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise MalformedFile(
            f"trace {trace.trace_id}", "it holds half of a surrogate pair, which is not text."
        ) from None
    if size > MAX_BYTES:
        raise MalformedFile(
            f"trace {trace.trace_id}",
            f"it would have {size:,} bytes; at most {MAX_BYTES:,} are kept.",
        )
    return text


def _calls_section(trace: ExecutionTrace) -> str:
    calls = []
    for step in trace.steps:
        facts = step.model_dump(exclude={"call"}, exclude_defaults=True, mode="json")
        entry = {"name": step.call.name, "arguments": step.call.arguments, **facts}
        if step.call.call_id:
            entry["call_id"] = step.call.call_id
        calls.append(entry)
    block = json.dumps(calls, indent=2, ensure_ascii=False)
    return f"{CALLS_HEADING}\n\n{_FENCE}json\n{block}\n{_FENCE}\n"


def _decode(text: str | bytes, path: str) -> str:
    size = len(text)
    if size > MAX_BYTES:
        raise MalformedFile(path, f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read.")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise MalformedFile(path, "the file is not UTF-8 text.", line=line) from None


def _split(text: str, path: str) -> tuple[str, str, int]:
    """Front matter, body, and the number of lines before the body.

    Only a line feed ends a line here: other breaks that Unicode knows stand inside values.
    """
    lines = text.split("\n")
    if lines[0].rstrip("\r \t") != "---":
        raise MalformedFile(
            path, "the front matter is missing.", line=1, fix="The first line must be '---'."
        )
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip("\r \t") == "---":
            front = "\n".join(lines[1:number]) + "\n"
            return front, "\n".join(lines[number + 1 :]), number + 1
    raise MalformedFile(path, "the front matter is not closed by a line '---'.", line=1)


def _read_steps(body: str, offset: int, path: str) -> tuple[TraceStep, ...]:
    lines = [line.rstrip("\r") for line in body.split("\n")]
    # The last heading counts: recorded content in the prose may hold the same words, while a
    # line of the JSON block never can (its strings are quoted and escaped).
    headings = [number for number, line in enumerate(lines) if line.strip() == CALLS_HEADING]
    if not headings:
        raise MalformedFile(path, f"the section '{CALLS_HEADING}' is missing.", line=offset + 1)
    start = headings[-1] + 1
    while start < len(lines) and not lines[start].strip():
        start += 1
    if start >= len(lines) or lines[start].strip() != f"{_FENCE}json":
        raise MalformedFile(
            path, f"'{CALLS_HEADING}' needs a block '{_FENCE}json'.", line=offset + start + 1
        )
    end = next((n for n in range(start + 1, len(lines)) if lines[n].strip() == _FENCE), None)
    if end is None:
        raise MalformedFile(path, "the JSON block is not closed.", line=offset + start + 1)
    first = offset + start + 2
    try:
        calls = json.loads("\n".join(lines[start + 1 : end]))
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise MalformedFile(
            path, f"the JSON block does not parse: {error.msg}.", line=line
        ) from None
    except RecursionError:
        raise MalformedFile(path, "the JSON block is nested too deeply.", line=first) from None
    if not isinstance(calls, list):
        raise MalformedFile(path, "the JSON block must be a list of calls.", line=first)
    return tuple(_read_step(call, n, first, path) for n, call in enumerate(calls, start=1))


def _read_step(entry: Any, number: int, line: int, path: str) -> TraceStep:
    if not isinstance(entry, dict):
        raise MalformedFile(path, f"call {number} must be an object.", line=line)
    unknown = sorted(set(entry) - _STEP_FIELDS)
    if unknown:
        raise MalformedFile(path, f"call {number} has the unknown field {unknown[0]!r}.", line=line)
    call = {key: entry[key] for key in ("name", "arguments", "call_id") if key in entry}
    facts = {key: value for key, value in entry.items() if key not in call}
    try:
        step = TraceStep.model_validate({"call": call, **facts})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"] if part != "call")
        raise MalformedFile(path, f"call {number}: {_say(name, first)}", line=line) from None
    if inside := unknown_fields(step):
        raise MalformedFile(path, f"call {number}: unknown field {inside[0]!r}.", line=line)
    return step


def _say(name: str, fault: Any) -> str:
    if fault["type"] == "missing":
        return f"the field {name!r} is missing."
    return f"field {name!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}."


def _line_of(front: str, name: str) -> int:
    """Line in the file of a top-level field; the opening '---' is line 1."""
    top = name.split(".", 1)[0]
    found = re.search(rf"^{re.escape(top)}\s*:", front, re.MULTILINE) if top else None
    return front.count("\n", 0, found.start()) + 2 if found else 1
