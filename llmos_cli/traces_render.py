"""Traces as plain text. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from llmos_cli.output import data_of
from llmos_cli.render import printable, short
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.learning.trace_check import marks
from llmos_workers.learning.trace_fields import without_counters
from llmos_workers.learning.trace_file import to_markdown
from llmos_workers.learning.trace_history import OldVersion
from llmos_workers.learning.trace_prose import step_title
from llmos_workers.learning.trace_seal import objection


def data(trace: ExecutionTrace) -> dict[str, Any]:
    """A trace for programs, with its standing and marks."""
    return data_of(trace) | {
        "standing": trace.standing.value,
        "marks": marks(trace),
        "success_rating": round(trace.success_rating, 4),
    }


def listed(trace: ExecutionTrace) -> dict[str, Any]:
    """A trace for programs that list: everything but its content."""
    left_out = {"steps", "inputs", "outputs", "answer", "learn_usage", "output_summary"}
    return {name: value for name, value in data(trace).items() if name not in left_out}


def table(traces: Sequence[ExecutionTrace]) -> list[str]:
    """Traces as aligned rows."""
    rows = [("ID", "PROJECT", "VER", "USED", "OK", "SAVED", "LEARNED", "MARKS", "GOAL")]
    for trace in traces:
        used = str(trace.usage_count)
        well = f"{trace.success_rating:.0%}" if trace.usage_count else "-"
        rows.append((
            trace.trace_id, trace.project, str(trace.version), used, well,
            format_usd(trace.total_saved_micro), (trace.created_at or "-")[:10],
            ",".join(marks(trace)) or "-", short(trace.goal_text),
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(8)]
    return [
        "  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[8]])
        for row in rows
    ]


def shown(trace: ExecutionTrace, older: Sequence[OldVersion]) -> list[str]:
    """One trace for people."""
    used = f"{trace.usage_count} times"
    if trace.usage_count:
        used += f", {trace.success_rating:.0%} well, saved {format_usd(trace.total_saved_micro)}"
        used += f", last {trace.last_used}" if trace.last_used else ""
    facts = {
        "trace": f"{trace.trace_id} of project {trace.project}",
        "goal": short(trace.goal_text, 400),
        "version": f"{trace.version}" + (f" ({len(older)} older kept)" if older else ""),
        "learned": f"{trace.created_at or '?'} as {trace.mode} by {trace.agent} "
        f"with {trace.model or '?'} for {format_usd(trace.learn_cost_micro)}",
        "used": used,
        "standing": objection(trace) or _vouched(trace),
        "marks": ", ".join(marks(trace)),
        "notes": short(trace.error_notes, 400),
    }
    lines = [f"{name + ':':<9} {value}" for name, value in facts.items() if value]
    lines += [f"wording:  {short(text, 200)}" for text in trace.aliases]
    if trace.vetoes:
        lines.append(f"vetoes:   {len(trace.vetoes)} goals must never follow it")
    for slot in trace.slots:
        lines.append(f"slot:     {slot.name} ({slot.type}) = {short(slot.value, 100)}")
    for check in trace.checks:
        lines.append(f"check:    {step_title(check.step)}  has to fail as it did")
    for file in trace.inputs:
        lines.append(f"input:    {file.path}  {_digest(file.digest)}")
    for file in trace.outputs:
        lines.append(f"output:   {file.path}  {_digest(file.digest)}")
    for number, step in enumerate(trace.steps, start=1):
        lines += _step(number, step)
    if trace.answer:
        lines += ["answer:", *(f"    {line}" for line in trace.answer.rstrip().splitlines())]
    return [printable(line) for line in lines]


def difference(old: ExecutionTrace, new: ExecutionTrace) -> list[str]:
    """What another content changed, as a unified diff of the two files without counters."""
    before, after = _comparable(old), _comparable(new)
    lines = difflib.unified_diff(before, after, _label(old), _label(new), lineterm="")
    return [printable(line) for line in lines]


def _comparable(trace: ExecutionTrace) -> list[str]:
    unsigned = without_counters(trace).model_copy(update={"signature": ""})
    return to_markdown(unsigned).splitlines()


def _label(trace: ExecutionTrace) -> str:
    return f"{trace.project}/{trace.trace_id} version {trace.version}"


def _vouched(trace: ExecutionTrace) -> str:
    if trace.approved_by:
        return f"approved by {trace.approved_by}"
    return "signed"


def _digest(digest: str | None) -> str:
    return f"sha256 {digest[:16]}…" if digest else "not there"


def _step(number: int, step: TraceStep) -> list[str]:
    lines = [f"step {number}:{'':3} {step_title(step)}"]
    for name, value in step.call.arguments.items():
        lines.append(f"    {name} = {short(value if isinstance(value, str) else repr(value), 160)}")
    lines += [f"    writes {file.path}" for file in step.writes]
    return lines
