"""Running a generalized tool with values that none of its traces has.

There is no recorded step to hold it to: each call has to pass the gate and to succeed, and the
tools must be those that it was proved with. At the first call that does not, a model goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.execution.crystal.runners import ProgramFault, Session
from llmos_workers.execution.ptc import PTCExecutor, ToolSequence
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.crystal import demote, is_of
from llmos_workers.flow.followed import blockers_now
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.publish import publish
from llmos_workers.flow.replay_parts import Handover, count, done_steps, hand_over, told_otherwise
from llmos_workers.flow.run import Run
from llmos_workers.learning.compiled import arguments_for
from llmos_workers.learning.families import of_their_kind, values_in
from llmos_workers.learning.posterior import own_threshold, standing
from llmos_workers.learning.signature import goal_signature

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

CONFIDENCE = 0.98
"""Word for word the template, with values of the proved kinds: as sure as a trace's own template,
and less so than an exact repeat. Nobody has measured it; feedback vetoes single wordings."""


def generalized(runtime: Runtime, record: GoalRecord, match: MatchResult) -> ModeDecision | None:
    """The decision for a goal that is a generalized tool's template with other values."""
    for ref in runtime.generated.refs():
        tool = runtime.generated.get(ref)
        if tool is None or len(tool.record.traces) < 2 or tool.record.project != record.project:
            continue
        values = values_in(tool.record.template, tool.record.parameters, record.text)
        if values is None or not runtime.confines:
            continue
        known = [source.values for source in tool.record.traces]
        if values in known or not of_their_kind(values, tool.record.parameters, known):
            continue
        if not objection_to(runtime, tool, record):
            return _decision(tool, values, match)
    return None


def objection_to(runtime: Runtime, tool: LoadedTool, record: GoalRecord) -> str:
    """Why the tool may not do this goal now; "" when nothing is against it."""
    config = runtime.config.dispatcher
    area = runtime.workspace.peek(record.place).output
    for source in tool.record.traces:
        trace = runtime.traces.get(record.project, source.trace_id)
        if trace is None or trace.crystallized_into_tool != tool.record.ref:
            return "its tool is out of use"
        if not is_of(runtime, tool, trace):
            return "one of its traces is another now"
        if goal_signature(record.text) in trace.vetoes:
            return "this wording was refused"
        if blockers := blockers_now(runtime, record, trace, {}, area=area):
            return "; ".join(blockers)
        own = own_threshold(trace.evidence, config.follower_threshold, config.max_replay_error)
        if standing("template", CONFIDENCE) < own.value:
            return f"one of its traces needs {own.value:.3g}: {own.why}"
    return ""


def _decision(tool: LoadedTool, values: dict[str, str], match: MatchResult) -> ModeDecision:
    record = tool.record
    told = ", ".join(f"{name} {value}" for name, value in values.items())
    candidate = MatchCandidate(
        trace_id=record.traces[0].trace_id,
        goal_text=record.goal,
        stage="template",
        confidence=CONFIDENCE,
        relatedness=match.relatedness,
        slots=values,
        agreed=("the tool's template",),
    )
    return ModeDecision(
        mode=Mode.CRYSTALLIZED,
        reason=f"{record.template!r} with {told}; generalized as {record.ref}",
        confidence=CONFIDENCE,
        trace_id=candidate.trace_id,
        trace_version=record.traces[0].version,
        slots=values,
        tool=record.ref,
        generalized=True,
        match=match.model_copy(update={"candidates": (candidate, *match.candidates)}),
    )


class _Asked(Sequence[TraceStep]):
    """The steps as the tool asks for them, one after the other."""

    def __init__(self, session: Session, tool: LoadedTool, exits: dict[str, int | None]) -> None:
        self._session, self._tool, self._exits = session, tool, exits
        self._steps: list[TraceStep] = []
        self.fault = ""

    def __iter__(self) -> Iterator[TraceStep]:
        while (call := self._next()) is not None:
            step = TraceStep(
                call=call,
                turn=len(self._steps),
                tool_version=self._tool.record.tools.get(call.name, "unknown"),
                exit_code=self._exits.get(call.name),
            )
            self._steps.append(step)
            yield step

    def _next(self) -> ToolCall | None:
        try:
            return self._session.next_call()
        except ProgramFault as error:
            self.fault = f"the generated tool {error.message}"
            return None

    def objection(self, call: ToolCall | None) -> str:
        """What it asks for is what it asks for; at the end, why it ended."""
        return "" if call else self.fault

    def told(self, result: ToolResult) -> None:
        """Pass on what came of a call."""
        try:
            self._session.told(result)
        except ProgramFault as error:
            self.fault = f"the generated tool {error.message}"

    @overload
    def __getitem__(self, index: int) -> TraceStep: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TraceStep]: ...
    def __getitem__(self, index: int | slice) -> TraceStep | Sequence[TraceStep]:
        """A step that was asked for."""
        return self._steps[index]

    def __len__(self) -> int:
        """How many were asked for so far."""
        return len(self._steps)


class _OpenSequence(ToolSequence):
    """Steps that nothing was recorded of: they have to succeed."""

    def touched(self, index: int) -> bool:  # noqa: ARG002
        """Always: its values are new."""
        return True

    def followed(self, index: int) -> bool:  # noqa: ARG002
        """What it made of a result is in its source."""
        return False


def run_generalized(run: Run) -> Outcome | Handover:
    """Do the goal with its tool. Raises as a replay does."""
    runtime, decision = run.runtime, run.decision
    trace = runtime.traces.get(run.project, decision.trace_id or "")
    tool = runtime.generated.get(decision.tool or "")
    if trace is None or tool is None:
        return hand_over(decision, (), "its tool is gone")
    arguments = arguments_for(tool.record.parameters, decision.slots)
    refusal = objection_to(runtime, tool, run.record)
    if refusal or arguments is None:
        return hand_over(decision, (), refusal or "its values are no arguments of the tool")
    context = runtime.gate_context(run, source="trace", agent=agent_of(run, trace.agent))
    if refusal := told_otherwise(run, trace, context):
        return hand_over(decision, (), refusal)
    if trace.tainted:
        context.taint.mark(f"trace {trace.trace_id}")
    started = runtime.clock.steady()
    try:
        with runtime.runners.session(tool.program, arguments) as session:
            asked = _Asked(session, tool, _exits(runtime, tool))
            result = PTCExecutor(runtime.gate, runtime.clock).execute_sequence(
                _OpenSequence(asked, decision.slots),
                context,
                before_step=run.guards.before_step,
                program=asked,
            )
    except (SandboxUnavailable, ProgramFault) as error:
        return hand_over(decision, (), error.message)
    run.guards.check()
    done = done_steps(runtime, tuple(asked[:]), result)
    latency_ms = (runtime.clock.steady() - started) * 1000
    if not result.completed:
        demote(run, result, result.reason)
        return hand_over(decision, done, f"its tool failed: {result.reason}", latency_ms)
    publish(run, done, taint=context.taint)
    count(run, trace, success=True, latency_ms=latency_ms)
    return make_outcome(
        run.record,
        GoalState.SUCCEEDED,
        now=runtime.clock.now(),
        decision=decision,
        text=session.value or "Done.",
        steps=done,
        saved_micro=trace.learn_cost_micro,
        replayed_from=trace.created_at,
    )


def _exits(runtime: Runtime, tool: LoadedTool) -> dict[str, int | None]:
    """Exit codes on record, by tool."""
    found: dict[str, int | None] = {}
    for source in tool.record.traces:
        trace: ExecutionTrace | None = runtime.traces.get(tool.record.project, source.trace_id)
        found |= {s.call.name: s.exit_code for s in (trace.steps if trace else ())}
    return found
