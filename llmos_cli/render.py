"""Goals as plain text: events while they run, outcomes when they end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmos_cli.output import data_of
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.events import GoalEvent, GoalEventKind
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel.clock import iso

SHORT_TEXT = 60
MOST_FILES = 20


def printable(text: str) -> str:
    """The text with what could steer a terminal (escapes, bidi marks) made spaces; lines stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def short(text: str, width: int = SHORT_TEXT) -> str:
    """The text on one line of at most ``width`` characters, without control characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def event_line(event: GoalEvent) -> str | None:
    """What one event says, or None for those that say nothing in a line."""
    tell = _TELL.get(event.kind)
    return None if tell is None else tell(event.data)


def _state(data: dict[str, Any]) -> str:
    if data.get("mode") and data.get("reason"):
        return _decision(data)
    return f"state     {data.get('state', '?')}"


def _decision(data: dict[str, Any]) -> str:
    return f"decision  {data.get('mode', '?')}: {short(str(data.get('reason', '')), 200)}"


def _text(data: dict[str, Any]) -> str:
    return f"says      {short(str(data.get('text', '')), 100)}"


def _retry(data: dict[str, Any]) -> str:
    wait, why = float(data.get("wait_s", 0)), short(str(data.get("why", "")), 120)
    return f"model     again in {wait:.1f} s: {why}"


def _model_call(data: dict[str, Any]) -> str:
    return f"model     turn {int(data.get('turn', 0)) + 1}, {data.get('model', '?')} …"


def _model_response(data: dict[str, Any]) -> str:
    cost = format_usd(int(data.get("cost_micro", 0)))
    return f"model     {data.get('tokens', 0):,} tokens, {cost} ({data.get('stop_reason', '?')})"


def _tool_call(data: dict[str, Any]) -> str:
    return f"tool      {data.get('name', '?')} {short(str(data.get('summary', '')), 100)}"


def _tool_result(data: dict[str, Any]) -> str:
    verdict = "ok" if data.get("ok") else "failed"
    code = data.get("exit_code")
    shown = "" if code in (None, 0) else f", exit {code}"
    return f"          {verdict}{shown}, {float(data.get('duration_ms', 0)):.0f} ms"


def _approval(data: dict[str, Any]) -> str:
    by = f" by {short(str(data['by']))}" if data.get("by") else ""
    what = f"{data.get('state', '?')}{by}: {short(str(data.get('tool', '?')))}"
    return f"approval  {what} ({data.get('approval_id', '?')})"


def _notice(data: dict[str, Any]) -> str:
    return f"notice    {short(str(data.get('message', '')), 200)}"


_TELL: dict[str, Callable[[dict[str, Any]], str]] = {
    GoalEventKind.STATE: _state,
    GoalEventKind.MODEL_CALL: _model_call,
    GoalEventKind.MODEL_RESPONSE: _model_response,
    GoalEventKind.MODEL_RETRY: _retry,
    GoalEventKind.TEXT: _text,
    GoalEventKind.TOOL_CALL: _tool_call,
    GoalEventKind.TOOL_RESULT: _tool_result,
    GoalEventKind.APPROVAL: _approval,
    GoalEventKind.NOTICE: _notice,
}


def summary(outcome: Outcome) -> list[str]:
    """A finished goal for people: status, figures, why, words, files, error."""
    lines = [figures(outcome)]
    if outcome.reason:
        lines.append(f"why: {outcome.reason}")
    if outcome.slots:
        lines.append("with: " + ", ".join(f"{k}={v}" for k, v in outcome.slots.items()))
    error = outcome.error
    # A model that gives up says why in its words; they are told once, as the error.
    if outcome.text and not (error and error.message[:SHORT_TEXT] in outcome.text):
        lines += ["", outcome.text.rstrip(), ""]
    lines += _parts(outcome)
    lines += [f"file: {file.path}" for file in outcome.files[:MOST_FILES]]
    if len(outcome.files) > MOST_FILES:
        lines.append(f"… and {len(outcome.files) - MOST_FILES} more files")
    if outcome.dry_run is not None:
        lines += dry_run_lines(outcome.dry_run)
    if error is not None:
        lines.append(f"error: {error.message}")
        if error.fix:
            lines.append(f"fix: {error.fix}")
    return [printable(line) for line in lines]


def _parts(outcome: Outcome) -> list[str]:
    """What became of each part of a goal that was split."""
    rows = outcome.plan.steps if outcome.plan else ()
    return [
        f"part {row['id']}: {row.get('status') or 'not begun'}  {row.get('mode') or '-'}  "
        f"{short(row['goal'], 60)}"
        for row in rows
    ]


def figures(outcome: Outcome) -> str:
    """Status, mode, time, calls, tokens and money on one line."""
    calls = f"{outcome.llm_calls} model call{'' if outcome.llm_calls == 1 else 's'}"
    parts = [outcome.status, outcome.mode.value if outcome.mode else "-"]
    parts += [f"{outcome.duration_s:.2f} s", calls, f"{outcome.usage.total_tokens:,} tokens"]
    parts.append(format_usd(outcome.cost_micro))
    if outcome.saved_micro:
        parts.append(f"saved {format_usd(outcome.saved_micro)}")
    if outcome.replayed_from:
        parts.append(f"replayed from {outcome.replayed_from}")
    return "  ".join(parts)


def dry_run_lines(told: dict[str, Any]) -> list[str]:
    """What would happen, were it no dry run."""
    lines = [f"dry run: would run as {told.get('mode', '?')}; nothing was run."]
    if told.get("trace_id"):
        lines.append(f"trace: {told['trace_id']} ({short(str(told.get('trace_goal') or ''))})")
    for name, value in dict(told.get("slots") or {}).items():
        lines.append(f"slot: {name} = {value}")
    worst = told.get("worst_cost_micro")
    lines.append(f"worst cost: {'?' if worst is None else format_usd(int(worst))}")
    files = list(told.get("files") or ())
    lines += [f"would touch: {path}" for path in files]
    if not told.get("files_known", True):
        lines.append("would touch: whatever the model decides, inside the project's folder")
    return lines


def record_data(record: GoalRecord) -> dict[str, Any]:
    """A goal record as JSON, without the envelope that only Celery needs."""
    return {"project": record.project} | data_of(record, exclude={"envelope"})


def record_lines(record: GoalRecord) -> list[str]:
    """A goal record for ``llmos status``."""
    facts = {
        "goal": record.goal_id,
        "text": short(record.text, 200),
        "project": record.project,
        "state": record.state.value + (" (cancel asked)" if record.cancel_requested else ""),
        "accepted": iso(record.created_at),
        "updated": iso(record.updated_at),
        "starts": str(record.deliveries),
    }
    if record.decision is not None:
        facts["mode"] = record.decision.mode.value
        facts["why"] = record.decision.reason
    if record.lease_owner:
        facts["worker"] = record.lease_owner
    if record.outcome is not None:
        facts["result"] = figures(record.outcome)
    width = max(map(len, facts)) + 1
    return [printable(f"{name + ':':<{width}} {value}") for name, value in facts.items()]


def goals_table(records: Sequence[GoalRecord]) -> list[str]:
    """Goals as aligned rows: id, state, mode, project, accepted, text."""
    rows = [("ID", "STATE", "MODE", "PROJECT", "ACCEPTED", "GOAL")]
    for record in records:
        mode = record.decision.mode.value if record.decision else "-"
        accepted, text = iso(record.created_at), short(record.text)
        rows.append((record.goal_id, record.state.value, mode, record.project, accepted, text))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return [
        "  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[5]])
        for row in rows
    ]
