"""What is wrong with a stored trace, here and now: ``llmos traces verify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.trace import TRACE_FORMAT, ExecutionTrace
from llmos_workers.kernel.workspace import digest_file
from llmos_workers.learning.followable import DEMOTED_AFTER, replay_blockers
from llmos_workers.learning.trace_seal import objection


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a trace."""

    fault: bool
    """False: worth knowing, and nothing to mend."""
    text: str


def check_trace(
    trace: ExecutionTrace, area: Path, tool_versions: Mapping[str, str]
) -> list[Finding]:
    """Faults first: signature, form, inputs and tools that are not as they were, a promised file
    that no step writes. ``area`` is the project's output folder.
    """
    faults = [objection(trace)] if objection(trace) else []
    if trace.format > TRACE_FORMAT:
        faults.append(f"format {trace.format} is newer than this llmos knows ({TRACE_FORMAT})")
    written = {(file.path, file.digest) for step in trace.steps for file in step.writes}
    faults += [
        f"no step writes {file.path} as it promises"
        for file in trace.outputs
        if (file.path, file.digest) not in written
    ]
    blockers = replay_blockers(trace, {}, area, tool_versions)
    faults += [text for text in blockers if text not in faults and not _standing(trace, text)]
    notes = [text for text in blockers if _standing(trace, text)]
    notes += [f"{path} was changed since; a replay writes it again" for path in _other(trace, area)]
    return [Finding(True, text) for text in faults] + [Finding(False, text) for text in notes]


def marks(trace: ExecutionTrace) -> list[str]:
    """What sets a trace apart from one that is simply followed, in a word each."""
    found = {
        "pinned": trace.pinned,
        trace.standing.value: bool(objection(trace)),
        "unproved": not trace.proved,
        "demoted": trace.failure_streak >= DEMOTED_AFTER,
        "destructive": trace.destructive,
        "tainted": trace.tainted,
        "imported": bool(trace.imported_from),
        "crystallized": bool(trace.crystallized_into_tool),
    }
    return [mark for mark, holds in found.items() if holds]


def _standing(trace: ExecutionTrace, blocker: str) -> bool:
    """Whether a blocker is a state that the trace is rightly in, and no fault of its content."""
    return blocker.startswith(
        ("the trace is not proved", f"version {trace.version} failed", "the learning run read")
    )


def _other(trace: ExecutionTrace, area: Path) -> list[str]:
    """Outputs that are there, but not as the run left them."""
    found = []
    for recorded in trace.outputs:
        try:
            now = digest_file(area, recorded.path)
        except ToolError:
            continue
        if now.digest not in (None, recorded.digest):
            found.append(recorded.path)
    return found
