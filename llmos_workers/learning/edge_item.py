"""A trace as a device follows it: what it answers, its calls with holes for slots, and conditions.

Compiled once, here, so that the device's runner (edge_runtime/run_follower.py) needs no more
than to fill holes and evaluate conditions. What cannot be put so is left out, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType, TraceStep
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX
from llmos_workers.learning.dependence import VOLATILE_FOLDERS
from llmos_workers.learning.followable import slot_blockers, standing_blockers, steps_that_depend
from llmos_workers.learning.matching.arguments import places, substitute
from llmos_workers.learning.matching.values import forms_of
from llmos_workers.learning.moment import moment_in

OPEN, CLOSE = "\ue000", "\ue001"
"""Mark a hole while it is looked for; characters of nobody's text."""

_HOLE = re.compile(f"{OPEN}(.*?){CLOSE}")
NEVER_ON_DEVICES = frozenset({"Glob", "Grep", "Python", "WebFetch", "create_agent", "modify_agent"})
"""Tools that the runner does not have."""


class NotForDevices(Exception):
    """A trace that no device could follow; the message says why."""


def edge_item(trace: ExecutionTrace) -> dict[str, Any]:
    """The item of a bundle. Raises NotForDevices."""
    if blockers := [*standing_blockers(trace), *_misfits(trace)]:
        raise NotForDevices(blockers[0])
    slots = [_slot(trace, slot) for slot in trace.slots]
    loose = [slot for slot in trace.slots if not _frozen(trace, slot)]
    depends = _dependence(trace, loose)
    return {
        "id": trace.trace_id,
        "trace_version": trace.version,
        "tool": trace.crystallized_into_tool,
        "match": {
            "wordings": [trace.goal_text, *trace.aliases],
            "vetoes": list(trace.vetoes),
            "exact_only": bool(trace.hidden) or trace.destructive,
            "slots": slots,
        },
        "before": [condition for read in trace.inputs for condition in _input(trace, read, loose)],
        "steps": [
            _step(trace, at, step, loose, depends[at]) for at, step in enumerate(trace.steps)
        ],
        "answer": with_holes(trace.answer, loose, everywhere=True),
        "created_at": trace.created_at,
    }


def tools_of(item: dict[str, Any]) -> set[str]:
    """Tools that an item needs."""
    return {step["tool"] for step in item["steps"]}


def programs_of(item: dict[str, Any]) -> set[str]:
    """Programs that an item's commands run."""
    commands = (step["arguments"]["command"] for step in item["steps"] if step["tool"] == "Bash")
    texts = (c if isinstance(c, str) else str(c["$parts"][0]) for c in commands)
    return {text.split(maxsplit=1)[0] for text in texts if text.strip()}


def with_holes(value: Any, slots: Sequence[Slot], *, everywhere: bool = False) -> Any:
    """Arguments, or a text, with holes where values of slots stand; filled as replay does it."""
    marks = {slot.value: f"{OPEN}{slot.name}{CLOSE}" for slot in slots}
    declared = {slot.value: marks[slot.value] for slot in slots if slot.declared or everywhere}
    step = TraceStep.model_validate({"call": {"name": "-", "arguments": {"-": value}}})
    [marked] = substitute([step], marks, declared)
    numbers = {slot.value: slot.name for slot in slots if slot.type is SlotType.NUMBER}
    return _unmarked(marked.call.arguments["-"], numbers)


def _unmarked(value: Any, numbers: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(part, numbers) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_unmarked(part, numbers) for part in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in numbers:
        return {"$number": numbers[str(value)]}
    if not isinstance(value, str) or OPEN not in value:
        return value
    parts: list[Any] = []
    for at, piece in enumerate(_HOLE.split(value)):
        if at % 2:
            parts.append({"$slot": piece})
        elif piece:
            parts.append(piece)
    return parts[0] if len(parts) == 1 else {"$parts": parts}


def _slot(trace: ExecutionTrace, slot: Slot) -> dict[str, Any]:
    where = [place for form in forms_of(slot.value) for place in places(form, trace.steps)]
    quoted = any(f"{mark}{slot.value}" in trace.goal_text for mark in "\"'`\u201c")
    return {
        "name": slot.name,
        "type": slot.type.value,
        "value": slot.value,
        "quoted": quoted,
        "spliced": any(not place.whole for place in where),
        "frozen": _frozen(trace, slot),
    }


def _frozen(trace: ExecutionTrace, slot: Slot) -> str:
    """Why a slot keeps its value on devices; "" when it may vary."""
    others = [form for form in forms_of(slot.value)[1:] if form != slot.value]
    if any(places(form, trace.steps) for form in others):
        return "the calls write it in another way than the goal"
    arguments = [step.call.arguments for step in trace.steps]
    if with_holes(arguments, [slot]) == with_holes(arguments, []):
        return "no call shows its value"
    if blockers := slot_blockers(trace, {slot.name: f"{slot.value}-2"}):
        return blockers[0]
    return "it destroys things" if trace.destructive else ""


def _misfits(trace: ExecutionTrace) -> Iterable[str]:
    if OPEN in trace.model_dump_json():
        yield "it holds characters that mark holes"
    for step in trace.steps:
        if step.call.name in NEVER_ON_DEVICES:
            yield f"devices have no {step.call.name}"
        if step.references:
            yield "one of its calls needs what an earlier one says"
        if step.call.name == "Bash" and "$" in str(step.call.arguments.get("command")):
            yield "one of its commands needs a shell"
    if moment_in(trace.goal_text):
        yield "its goal asks about a moment"
    if trace.checks:
        yield "it rests on a call that failed, which no device makes again"
    if trace.premises:
        yield "it depends on what hooks told"


def _dependence(trace: ExecutionTrace, slots: Sequence[Slot]) -> list[dict[str, str]]:
    """For each step, the slots that what it does and says depends on, with their old values."""
    found: list[dict[str, str]] = [{} for _ in trace.steps]
    for slot in slots:
        for at in steps_that_depend(trace, {slot.name: f"{slot.value}-2"}):
            found[at][slot.name] = slot.value
    return found


def _input(trace: ExecutionTrace, read: Any, slots: Sequence[Slot]) -> Iterable[dict[str, Any]]:
    path = with_holes(read.path, slots)
    if read.path.endswith("/"):
        yield {
            "check": "listing",
            "path": path,
            "value": read.digest,
            "own": [written.path for written in trace.outputs],
            "volatile": sorted(VOLATILE_FOLDERS),
            "temporary": TEMPORARY_SUFFIX,
        }
        return
    given = {
        slot.name: slot.value for slot in slots if path != with_holes(read.path, _but(slots, slot))
    }
    yield {"check": "file", "path": path, "value": read.digest, "given": given}
    if given and read.digest is not None:
        yield {"check": "there", "path": path}


def _but(slots: Sequence[Slot], one: Slot) -> list[Slot]:
    return [slot for slot in slots if slot is not one]


def _step(
    trace: ExecutionTrace, at: int, step: TraceStep, slots: Sequence[Slot], given: dict[str, str]
) -> dict[str, Any]:
    after: list[dict[str, Any]] = []
    if step.call.name == "Bash":
        after.append({"check": "exit_code", "value": step.exit_code or 0})
    after += [
        {"check": "file", "path": written.path, "value": written.digest, "given": given}
        for written in step.writes
    ]
    seen = (
        any(later.turn > step.turn for later in trace.steps[at + 1 :])
        or not trace.outputs
        or step.said
    )
    if step.informative and seen:
        after.append({"check": "output", "value": step.output_digest, "given": given})
    arguments = with_holes(step.call.arguments, slots)
    before = [
        {"check": "file", "path": read.path, "value": read.digest, "given": given}
        for read in step.reads
    ]
    return {"tool": step.call.name, "arguments": arguments, "before": before, "after": after}
