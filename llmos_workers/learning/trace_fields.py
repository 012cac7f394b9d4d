"""Names and order of a trace's front matter, and how they map to the trace's own fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llmos_workers.contracts.base import micro_to_usd
from llmos_workers.contracts.trace import TRACE_FORMAT, ExecutionTrace, TraceCounters
from llmos_workers.kernel.front_matter import FrontMatterError

FIELD_NAMES = {
    "learn_cost_micro": "estimated_cost_usd",
    "learn_duration_s": "estimated_time_secs",
    "total_cost_micro": "total_cost_usd",
    "total_saved_micro": "total_saved_usd",
}
"""Field of the trace -> its name in the file, where they differ."""

_MONEY = frozenset({"estimated_cost_usd", "total_cost_usd", "total_saved_usd"})
_DERIVED = ("success_rating", "tools_used")
"""Written for people; ignored when read."""

COUNTERS = tuple(TraceCounters.model_fields)
"""Fields that Redis counts. Files of traces hold none since format 2, so that use changes no file;
those of format 1, and of replaced versions, do."""

_FIRST = (
    "format", "trace_id", "goal_signature", "goal_text", "project", "version", "revision", "mode",
    "agent", "model", "created_at", "learned_from", "learn_cost_micro", "learn_duration_s",
    "learn_usage", "proved", "proved_by", "destructive", "tainted", "crystallized_into_tool",
    "output_summary", "pinned", "approved_by", "imported_from", "signature", "error_notes",
    "answer", "aliases", "vetoes", "slots", "fixed", "hidden", "inputs", "ignored_inputs",
    "outputs",
)  # fmt: skip


def without_counters(trace: ExecutionTrace) -> ExecutionTrace:
    """The trace as if never used, and of no revision: equal for equal meaning."""
    fields = ExecutionTrace.model_fields
    names = (*COUNTERS, "revision")
    return trace.model_copy(
        update={name: fields[name].get_default(call_default_factory=True) for name in names}
    )


def to_fields(trace: ExecutionTrace, *, counters: bool = False) -> dict[str, Any]:
    """The front matter of a trace, in its stable order."""
    data = trace.model_dump(mode="json", exclude={"steps"})
    # What came after format 1, and what a newer release added: only where it says something.
    known = {"steps", *_FIRST, *COUNTERS}
    rest = list(trace.model_dump(mode="json", exclude=known, exclude_defaults=True))
    fields: dict[str, Any] = {}
    for name in (*_FIRST, *rest, *(COUNTERS if counters else ())):
        shown = FIELD_NAMES.get(name, name)
        value = data[name]
        fields[shown] = _dollars(value) if shown in _MONEY else value
        if name == "outputs":
            fields["tools_used"] = list(trace.tools_used)
    if counters:
        fields["success_rating"] = round(trace.success_rating, 4)
    return fields | {"format": TRACE_FORMAT}


def from_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Back to the trace's own names and units. Raises FrontMatterError naming the field."""
    version = fields.get("format", TRACE_FORMAT)
    if isinstance(version, int) and version > TRACE_FORMAT:
        raise FrontMatterError(
            f"a newer release of llmos wrote it, in format {version}; this one reads up to "
            f"{TRACE_FORMAT}.",
            field="format",
        )
    own = {shown: name for name, shown in FIELD_NAMES.items()}
    data: dict[str, Any] = {}
    for shown, value in fields.items():
        if shown in _DERIVED:
            continue
        if shown in FIELD_NAMES or shown in ("steps", "standing"):
            raise FrontMatterError(f"unknown field {shown!r}.", field=shown)
        data[own.get(shown, shown)] = (
            _micro(shown, value) if shown in _MONEY else _plain(shown, value)
        )
    return data


def _dollars(micro: int) -> Decimal:
    amount = micro_to_usd(micro)
    return amount.quantize(Decimal("0.01")) if micro % 10_000 == 0 else amount.normalize()


def _micro(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise FrontMatterError(
            f"field {name!r}: must be an amount in dollars, like 0.45.", field=name
        )
    micro = Decimal(value).scaleb(6)
    if not micro.is_finite() or micro < 0 or micro != micro.to_integral_value():
        raise FrontMatterError(
            f"field {name!r}: must be dollars with at most six decimal places.", field=name
        )
    return int(micro)


def _plain(name: str, value: Any) -> Any:
    """Decimals back to floats (exact for what was written from a float), types kept strict."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(name, item) for key, item in value.items()}
    return value
