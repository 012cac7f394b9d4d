"""Whether a matched trace may be replayed now, in words: a trace is a build rule, and this is
the check that everything it depended on is still the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.execution.references import refers_to
from llmos_workers.kernel.workspace import digest_file
from llmos_workers.learning.dependence import (
    READING_TOOLS,
    listing_digest,
    reveals,
    succeeded,
    written_after_seeing,
)
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.moment import time_blockers
from llmos_workers.learning.trace_seal import objection, taint_objection

DEMOTED_AFTER = 2
"""Failures in a row after which a version is not followed until it heals."""

_SURE_STAGES = frozenset({"exact", "alias", "judged"})
"""A judge's word on what destroys things is that of two votes (flow.judge)."""


def replay_blockers(
    trace: ExecutionTrace,
    slots: Mapping[str, str],
    area: Path,
    tool_versions: Mapping[str, str],
    *,
    stage: str = "exact",
    day: str | None = None,
) -> tuple[str, ...]:
    """Why the trace may not be followed with these slot values; empty: it may.

    ``slots`` maps names to values (unnamed ones keep theirs), ``area`` is the project's output
    folder, ``tool_versions`` are the tools of this worker, ``stage`` is how the match was found,
    ``day`` the day in UTC (None: whatever day it is).
    Reads the input files to compare their digests, which is its only cost.
    """
    blockers = [
        *standing_blockers(trace),
        *_of_destruction(trace, slots, stage),
        *_of_hidden(trace, stage),
        *_of_tools(trace, tool_versions),
        *slot_blockers(trace, slots),
        *(time_blockers(trace, day) if day is not None else ()),
    ]
    return tuple(blockers or _of_inputs(trace, slots, area))


def changed_slots(trace: ExecutionTrace, slots: Mapping[str, str]) -> tuple[Slot, ...]:
    """Slots that get another value than in the learning run."""
    return tuple(s for s in trace.slots if slots.get(s.name, s.value) != s.value)


def standing_blockers(trace: ExecutionTrace) -> list[str]:
    """What is against following the trace wherever and with whatever values."""
    blockers = [why] if (why := objection(trace)) else []
    if not trace.proved:
        why = f": {trace.error_notes}" if trace.error_notes else ""
        blockers.append(f"the trace is not proved{why}")
    if why := taint_objection(trace):
        blockers.append(why)
    if trace.failure_streak >= DEMOTED_AFTER:
        blockers.append(f"version {trace.version} failed {trace.failure_streak} times in a row")
    if not all(succeeded(step) for step in trace.steps):
        blockers.append("it holds a call that failed")
    return blockers


def _of_destruction(trace: ExecutionTrace, slots: Mapping[str, str], stage: str) -> list[str]:
    if not trace.destructive:
        return []
    if changed_slots(trace, slots):
        return ["it destroys things, and with other values that is for a model to weigh"]
    if stage not in _SURE_STAGES:
        return ["it destroys things, so only its exact wording is followed"]
    return []


def _of_hidden(trace: ExecutionTrace, stage: str) -> list[str]:
    if trace.hidden and stage != "exact":
        return [
            f"it holds what its goal does not say ({', '.join(trace.hidden[:3])}), so only its "
            "exact wording is followed"
        ]
    return []


def _of_tools(trace: ExecutionTrace, versions: Mapping[str, str]) -> list[str]:
    blockers = []
    for name in trace.tools_used:
        recorded = {step.tool_version for step in trace.steps if step.call.name == name}
        if name not in versions:
            blockers.append(f"the tool {name} is not there")
        elif recorded != {versions[name]}:
            blockers.append(f"the tool {name} changed since {_when(trace)}")
    return blockers


def slot_blockers(trace: ExecutionTrace, slots: Mapping[str, str]) -> list[str]:
    """With other values the model might have seen other results, and gone on differently."""
    changed = changed_slots(trace, slots)
    unknown = sorted(set(slots) - {slot.name for slot in trace.slots})
    if unknown or not changed:
        return [f"it has no slot {name!r}" for name in unknown[:1]]
    names = ", ".join(slot.name for slot in changed)
    if failed := _failed_with(trace, slots):
        return [f"{_call(failed)} failed, and whether it would with another {names} is not known"]
    if not trace.steps:
        return [f"its answer was written for another {names}"]
    for at in steps_that_depend(trace, slots):
        if not reveals(trace.steps, at) or refers_to(trace.steps, at):
            continue
        told = f"what {_call(trace.steps[at])} tells depends on {names}"
        if written_after_seeing(trace.steps, at):
            return [f"{told}, and the steps after it were written with the old result in view"]
        if not trace.outputs:
            return [f"{told}, and the answer was written with the old result in view"]
    return []


def _failed_with(trace: ExecutionTrace, slots: Mapping[str, str]) -> TraceStep | None:
    """The first failed call whose arguments would be others."""
    asked = [check.step for check in trace.checks]
    filled = fill(asked, trace.slots, slots)
    both = zip(asked, filled, strict=True)
    return next((was for was, now in both if was.call != now.call), None)


def steps_that_depend(trace: ExecutionTrace, slots: Mapping[str, str]) -> list[int]:
    """Positions of the steps whose call or files the changed values reach.

    Behind a changed file, whatever informs without naming its files may have seen it.
    """
    filled = fill(trace.steps, trace.slots, slots)
    found, touched = list[int](), set[str]()
    for at, (before, after) in enumerate(zip(trace.steps, filled, strict=True)):
        reached = any(file.path in touched for file in before.reads)
        blind = bool(touched) and before.informative and before.call.name not in READING_TOOLS
        refers = any(ref.source in found for ref in before.references)
        if after.call != before.call or reached or blind or refers:
            found.append(at)
            touched.update(file.path for file in before.writes)
    return found


def _of_inputs(trace: ExecutionTrace, slots: Mapping[str, str], area: Path) -> list[str]:
    blockers = []
    for recorded in trace.inputs:
        path = path_with_slots(trace, slots, recorded.path)
        try:
            if path.endswith("/"):
                now = listing_digest(area, path, [file.path for file in trace.outputs])
            else:
                now = digest_file(area, path)
        except ToolError as error:
            blockers.append(f"the input {path} cannot be read: {error.message}")
            continue
        fault = _difference(trace, recorded, path, now)
        if fault:
            blockers.append(fault)
    return blockers


def _difference(
    trace: ExecutionTrace, recorded: FileDigest, path: str, now: FileDigest
) -> str | None:
    if path != recorded.path:
        # Another file than the one that was learned from: it has to be there, as that one was.
        # Whether its content was seen by the model is for slot_blockers to say.
        gone = recorded.digest is not None and now.digest is None
        return f"the input {path} is missing" if gone else None
    if now.digest == recorded.digest:
        return None
    if now.digest is None:
        return f"the input {path} is missing"
    if path.endswith("/"):
        folder = "the project's folder" if path == "./" else f"the folder {path}"
        return f"other files are in {folder} than on {_when(trace)}"
    if recorded.digest is None:
        return f"the input {path} was not there on {_when(trace)}"
    return f"the input {path} changed since {_when(trace)}"


def path_with_slots(trace: ExecutionTrace, slots: Mapping[str, str], path: str) -> str:
    """A recorded path with the new values in it."""
    step = TraceStep(call=ToolCall(name="path", arguments={"path": path}))
    return str(fill([step], trace.slots, slots)[0].call.arguments["path"])


def _when(trace: ExecutionTrace) -> str:
    return trace.created_at or "it was learned"


def _call(step: TraceStep) -> str:
    for key in ("path", "command", "pattern"):
        value = step.call.arguments.get(key)
        if isinstance(value, str) and len(value) <= 60:
            return f"{step.call.name} {value}"
    return step.call.name
