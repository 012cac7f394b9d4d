"""What people do with generated tools: look at them, take one out of use, go back to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_workers.contracts.errors import InvalidOption, MalformedFile, NotThere
from llmos_workers.contracts.generated import GeneratedTool
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.flow.crystal import is_of, put_out_of_use
from llmos_workers.runtime import Runtime

IN_USE = "in use"


@dataclass(frozen=True)
class Shelved:
    """One version of a generated tool."""

    ref: str
    state: str
    """``in use``, ``demoted``, ``disabled``, ``unused`` or ``unreadable``."""
    why: str
    record: GeneratedTool | None


def shelf(runtime: Runtime) -> list[Shelved]:
    """All generated tools, by name and version."""
    notes = runtime.generated_notes.notes()
    found = []
    for ref in runtime.generated.refs():
        try:
            record = runtime.generated.load(ref).record
        except MalformedFile as error:
            found.append(Shelved(ref, "unreadable", error.reason, None))
            continue
        note = notes.get(ref)
        if any(trace.crystallized_into_tool == ref for trace in _traces(runtime, record)):
            found.append(Shelved(ref, IN_USE, "", record))
        else:
            state, why = (note.status, note.why) if note else ("unused", "no trace names it")
            found.append(Shelved(ref, state, why, record))
    return found


def the_tool(runtime: Runtime, name: str) -> Shelved:
    """A tool by its reference, or the newest of that name, before others one in use.

    Raises NotThere.
    """
    tools = [each for each in shelf(runtime) if name in (each.ref, each.ref.rpartition("_")[0])]
    if not tools:
        raise NotThere(
            f"there is no generated tool {name[:80]!r}.", fix="See: llmos tools generated."
        )
    return max(tools, key=lambda each: (each.ref == name, each.state == IN_USE, _version(each.ref)))


def disable(runtime: Runtime, name: str, *, by: str) -> Shelved:
    """Take a tool out of use for good: its trace is replayed, and not compiled again as it is.

    Raises NotThere, and InvalidOption for one that is not in use.
    """
    tool = the_tool(runtime, name)
    if tool.state != IN_USE or tool.record is None:
        raise InvalidOption(f"{tool.ref} is not in use: it is {tool.state}.")
    put_out_of_use(runtime, tool.record.project, tool.ref, f"by {by}", status="disabled")
    return the_tool(runtime, tool.ref)


def rollback(runtime: Runtime, name: str, *, by: str, version: int | None = None) -> Shelved | None:
    """Use another version of a tool: ``version``, or the newest before the one in use that is not
    demoted. None: there is none that fits its trace, so the trace is replayed.

    Raises NotThere, InvalidOption.
    """
    now = the_tool(runtime, name)
    if now.record is None:
        raise InvalidOption(f"{now.ref} cannot be read: {now.why}")
    family = [
        each
        for each in shelf(runtime)
        if each.record is not None and each.record.name == now.record.name
    ]
    target = _target(runtime, now, family, version)
    if now.state == IN_USE and (target is None or target.ref != now.ref):
        put_out_of_use(runtime, now.record.project, now.ref, f"by {by}", status="disabled")
    if target is None:
        return None
    tool = runtime.generated.load(target.ref)
    for trace in _fitting(runtime, tool):
        runtime.traces.set_tool(trace.project, trace.trace_id, target.ref)
    runtime.generated_notes.back(target.ref)
    return the_tool(runtime, target.ref)


def _target(
    runtime: Runtime, now: Shelved, family: Sequence[Shelved], version: int | None
) -> Shelved | None:
    fitting = [each for each in family if _fitting(runtime, runtime.generated.load(each.ref))]
    if version is not None:
        chosen = next((each for each in family if _version(each.ref) == version), None)
        if chosen is None:
            raise NotThere(f"{now.ref.rpartition('_')[0]} has no version {version}.")
        if chosen not in fitting:
            raise InvalidOption(f"{chosen.ref} was made from another version of its trace.")
        return chosen
    before = [
        each
        for each in fitting
        if _version(each.ref) < _version(now.ref) and each.state not in ("demoted", "disabled")
    ]
    return max(before, key=lambda each: _version(each.ref), default=None)


def _fitting(runtime: Runtime, tool: LoadedTool) -> list[ExecutionTrace]:
    """Traces that are still those that the tool was made from."""
    return [t for t in _traces(runtime, tool.record) if is_of(runtime, tool, t)]


def _traces(runtime: Runtime, record: GeneratedTool) -> list[ExecutionTrace]:
    found = (runtime.traces.get(record.project, each.trace_id) for each in record.traces)
    return [trace for trace in found if trace is not None]


def _version(ref: str) -> int:
    return int(ref.rpartition("_")[2])
