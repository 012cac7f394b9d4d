"""Running a generated tool: it makes the calls of its trace, and the replay holds it to them.

Each call that it asks for must be the trace's next one, and passes the gate, journal and checks
as that step of a replay does. A tool that asks for anything else, breaks its limits or comes to
another end is demoted: its trace is followed as before, and the goal goes on with a model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.evolution.generated_notes import Attempt, ToolNote
from llmos_workers.execution.crystal.runners import ProgramFault, Session
from llmos_workers.execution.ptc import SequenceResult
from llmos_workers.flow.run import Run
from llmos_workers.kernel.lease import Lease
from llmos_workers.learning.compiled import arguments_for, trace_digest
from llmos_workers.learning.followable import changed_slots
from llmos_workers.sentience.manager import Felt

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

OUTSIDE = ("the goal was cancelled", "the goal's deadline has passed")
"""Ends of a run that say nothing about its tool."""


class ToolRun:
    """One run of a generated tool, as the replay's executor holds it to the steps."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fault = ""

    def objection(self, call: ToolCall | None) -> str:
        """Why it does not ask for exactly this call (None: for none any more)."""
        if self._fault:
            return self._fault
        try:
            asked = self._session.next_call()
        except ProgramFault as error:
            return f"the generated tool {error.message}"
        if asked is None or call is None:
            if asked is call:
                return ""
            return "the generated tool ended early" if call else "the generated tool goes on"
        if (asked.name, asked.arguments) != (call.name, call.arguments):
            return f"the generated tool asks for another call of {asked.name[:80]}"
        return ""

    def told(self, result: ToolResult) -> None:
        """Pass on what came of the call."""
        try:
            self._session.told(result)
        except ProgramFault as error:
            self._fault = f"the generated tool {error.message}"


def usable(runtime: Runtime, trace: ExecutionTrace) -> LoadedTool | None:
    """The tool that a trace was compiled into, when it is of this very trace and may run here."""
    ref = trace.crystallized_into_tool
    if not ref or trace.standing is not Standing.SIGNED or not runtime.confines:
        return None
    tool = runtime.generated.get(ref)
    return tool if tool is not None and is_of(runtime, tool, trace) else None


def is_of(runtime: Runtime, tool: LoadedTool, trace: ExecutionTrace) -> bool:
    """Whether the tool was made from this very trace."""
    if tool.record.project != trace.project:
        return False
    source = next((s for s in tool.record.traces if s.trace_id == trace.trace_id), None)
    if source is None or source.version != trace.version:
        return False
    # What decides its calls is signed: the same signature, the same digest.
    return source.digest == runtime.generated.remember(trace.signature, lambda: trace_digest(trace))


@contextmanager
def opened(run: Run, trace: ExecutionTrace) -> Iterator[tuple[Run, ToolRun | None]]:
    """The goal's tool, started; and the run as it is: without a tool it is a replay (FOLLOWER)."""
    decision = run.decision
    tool = usable(run.runtime, trace) if decision.mode is Mode.CRYSTALLIZED else None
    values = _values(tool, trace, decision) if tool else None
    arguments = (
        arguments_for(tool.record.parameters, values) if tool and values is not None else None
    )
    with ExitStack() as stack:
        if tool is None or arguments is None or decision.tool != tool.record.ref:
            told = decision.mode is not Mode.CRYSTALLIZED
            yield (run if told else _followed(run, "its tool cannot be used")), None
            return
        try:
            session = stack.enter_context(run.runtime.runners.session(tool.program, arguments))
        except (SandboxUnavailable, ProgramFault) as error:
            yield _followed(run, error.message), None
            return
        yield run, ToolRun(session)


def _values(
    tool: LoadedTool, trace: ExecutionTrace, decision: ModeDecision
) -> dict[str, str] | None:
    """Values for the tool's parameters. A generalized tool knows its traces by values of its own:
    None where the goal has others in the trace's slots.
    """
    if len(tool.record.traces) < 2:
        return decision.slots
    source = next(s for s in tool.record.traces if s.trace_id == trace.trace_id)
    return None if changed_slots(trace, decision.slots) else source.values


def _followed(run: Run, why: str) -> Run:
    decision = run.decision
    changed = decision.model_copy(
        update={"mode": Mode.FOLLOWER, "tool": None, "reason": f"{decision.reason}; {why}"}
    )
    return replace(run, decision=changed)


def demote(run: Run, result: SequenceResult, why: str) -> None:
    """Put a tool that came to an open end out of use. Raises LeaseLost."""
    ref = run.decision.tool
    if run.decision.mode is not Mode.CRYSTALLIZED or not ref or result.reason in OUTSIDE:
        return
    lease, reason = run.guards.keeper.lease, f"goal {run.record.goal_id}: {why}"
    if put_out_of_use(run.runtime, run.project, ref, reason, lease=lease):
        felt = Felt(TriggerType.SELF_MODIFICATION_FAILED, f"the tool {ref} failed")
        run.runtime.sentience.trigger_all([felt], project=run.project, lease=lease)
    run.runtime.notice(run.record.goal_id, f"the generated tool {ref} is demoted: {why}")


def put_out_of_use(
    runtime: Runtime,
    project: str,
    ref: str,
    why: str,
    *,
    status: str = "demoted",
    lease: Lease | None = None,
) -> bool:
    """No trace uses the tool any more, and it is noted why. False: none did. Raises LeaseLost."""
    tool = runtime.generated.get(ref)
    changed = [
        runtime.traces.set_tool(project, source.trace_id, None, was=ref, lease=lease)
        for source in (tool.record.traces if tool else ())
    ]
    if any(changed):
        now = runtime.clock.now()
        runtime.generated_notes.put_out(ref, ToolNote(status, why, now))
        for source in tool.record.traces if tool else ():
            # A try that failed: the next one is due after as many uses more.
            trace = runtime.traces.get(project, source.trace_id)
            if trace is not None:
                attempt = Attempt(trace.version, trace.usage_count, status, False, now)
                runtime.generated_notes.tried(project, source.trace_id, attempt)
        log.warning("the generated tool %s is %s: %s", ref, status, why)
    return any(changed)
