"""The part of a trace file that is written for people and never read back."""

from __future__ import annotations

import json
import re

from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep

MAX_SHOWN = 4_000
"""Characters of one argument or output that the prose shows; the JSON block holds all."""

_LANGUAGES = {
    "py": "python", "sh": "bash", "js": "javascript", "ts": "typescript", "json": "json",
    "md": "markdown", "html": "html", "css": "css", "sql": "sql", "yaml": "yaml", "yml": "yaml",
    "toml": "toml", "csv": "csv", "c": "c", "go": "go", "rs": "rust",
}  # fmt: skip


def render_prose(trace: ExecutionTrace) -> str:
    """Title, Summary and Execution Steps."""
    steps = [_step(number, step) for number, step in enumerate(trace.steps, start=1)]
    parts = [
        f"# {one_line(trace.goal_text, 100)}",
        "## Summary",
        _summary(trace),
        "## Execution Steps",
        *(steps or ["No tool was used."]),
    ]
    return "\n\n".join(parts) + "\n"


def one_line(text: str, limit: int) -> str:
    """``text`` on one line, shortened with an ellipsis."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any inside ``text``."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def step_title(step: TraceStep) -> str:
    """A step in a few words: the tool and what it was used on."""
    arguments = step.call.arguments
    for key in ("path", "file_path", "command", "pattern", "url"):
        if isinstance(arguments.get(key), str):
            return f"{step.call.name} {one_line(arguments[key], 60)}"
    return step.call.name


def _summary(trace: ExecutionTrace) -> str:
    lines = [trace.output_summary or one_line(trace.answer, 400)]
    cost = format_usd(trace.learn_cost_micro)
    lines.append(f"Learned {trace.created_at or 'at an unknown time'} for {cost}.")
    if trace.slots:
        named = ", ".join(
            f"`{slot.name}` ({slot.type}, then {slot.value!r})" for slot in trace.slots
        )
        lines.append(f"Values that may change: {named}.")
    if trace.fixed:
        named = ", ".join(f"`{slot.value}`" for slot in trace.fixed)
        lines.append(f"Values that may not change: {named}.")
    if trace.hidden:
        lines.append(f"Holds what the goal does not say: {', '.join(trace.hidden)}.")
    if trace.checks:
        named = ", ".join(f"`{step_title(check.step)}`" for check in trace.checks)
        lines.append(f"Followed only while these fail as they did: {named}.")
    if trace.inputs:
        lines.append(f"Depends on: {', '.join(f'`{file.path}`' for file in trace.inputs)}.")
    if trace.outputs:
        lines.append(f"Leaves: {', '.join(f'`{file.path}`' for file in trace.outputs)}.")
    return "\n\n".join(line for line in lines if line)


def _step(number: int, step: TraceStep) -> str:
    parts = [f"### Step {number}: {step_title(step)}", f"Tool: {step.call.name}"]
    short = {}
    for name, value in step.call.arguments.items():
        if isinstance(value, str) and ("\n" in value or len(value) > 120):
            language = _language(step) if name in ("content", "new_string", "text") else ""
            parts += [f"{name}:", fenced(_shown(value), language)]
        else:
            short[name] = value
    if short:
        listed = json.dumps(short, ensure_ascii=False, indent=2)
        parts[2:2] = ["Arguments:", fenced(_shown(listed), "json")]
    if step.output:
        parts += ["Output:", fenced(_shown(step.output))]
    return "\n\n".join(parts)


def _language(step: TraceStep) -> str:
    path = str(step.call.arguments.get("path", ""))
    return _LANGUAGES.get(path.rsplit(".", 1)[-1].lower(), "") if "." in path else ""


def _shown(text: str) -> str:
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:MAX_SHOWN]}\n… {len(text) - MAX_SHOWN:,} more characters, see the JSON block"
