"""Crystallize: a trace that was used often and well becomes a generated tool.

Upkeep does it, one trace a round: compile, prove in scratch copies of the project as it is now,
sign, and note it in the trace. It costs no money. What could not be proved is tried again after
as many uses more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import BrokerUnavailable, LLMOSError, PolicyDenied
from llmos_workers.contracts.events import Topic
from llmos_workers.contracts.generated import GeneratedTool, SourceTrace
from llmos_workers.contracts.goal import GoalOptions
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.evolution.generated_notes import Attempt
from llmos_workers.execution.crystal.policy import check_source
from llmos_workers.execution.crystal.runners import Program
from llmos_workers.execution.once import is_outside
from llmos_workers.flow.crystal import usable
from llmos_workers.flow.crystal_proof import Proof, prove_tool
from llmos_workers.flow.run import Run, RunGuards
from llmos_workers.flow.trial import Trials
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.goals import new_record
from llmos_workers.kernel.lease import Lease, LeaseKeeper
from llmos_workers.learning.compiled import (
    Compiled,
    compile_trace,
    goal_template,
    tool_name,
    trace_digest,
)
from llmos_workers.learning.trace_seal import objection, taint_objection
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)


class Unattended(RunGuards):
    """Guards of work that belongs to no goal: nobody cancels it."""

    def cancelled(self) -> bool:
        """Never."""
        return False


def crystallize_due(runtime: Runtime) -> str:
    """Make a tool of one trace that has earned it, when ``dispatcher.auto_crystallization``."""
    if not runtime.config.dispatcher.auto_crystallization or not runtime.confines:
        return "off"
    longest = runtime.config.learning.prove_timeout_secs + 60.0
    for trace in _due(runtime):
        # Upkeep workers take turns, but a proof may take longer than a turn.
        if runtime.generated_notes.claim(f"{trace.project}/{trace.trace_id}", longest):
            return crystallize(runtime, trace).result
    return "none due"


def crystallize(runtime: Runtime, trace: ExecutionTrace) -> Attempt:
    """Make a tool of a trace, whatever its count of uses; what came of it, also noted.

    Raises BrokerUnavailable and Redis errors.
    """
    try:
        tool = _made(runtime, trace)
        result, made = tool.record.ref, True
        tell_made(runtime, tool)
    except BrokerUnavailable:
        raise
    except LLMOSError as error:
        result, made = error.message, False
        log.info("trace %s of %s was not compiled: %s", trace.trace_id, trace.project, result)
    attempt = Attempt(trace.version, trace.usage_count, result, made, runtime.clock.now())
    runtime.generated_notes.tried(trace.project, trace.trace_id, attempt)
    return attempt


def tell_made(runtime: Runtime, tool: LoadedTool) -> None:
    """Everybody who listens, and the internal state, learn of a new tool."""
    record = tool.record
    told = {"project": record.project, "tool": record.ref, "trace_id": record.traces[0].trace_id}
    runtime.bus.publish(Topic.TOOL_CRYSTALLIZED, told)
    runtime.feel(
        TriggerType.SELF_MODIFICATION_OK, f"made the tool {record.ref}", project=record.project
    )


def unfit(runtime: Runtime, trace: ExecutionTrace) -> str:
    """Why no tool can be made of a trace at all; "" when nothing is against it."""
    specs = runtime.tools.all_specs()
    if why := objection(trace) or taint_objection(trace):
        return why
    if not trace.proved or not trace.steps:
        return "it is not proved" if trace.steps else "it makes no calls"
    if trace.destructive or trace.is_plan:
        return "it is a plan" if trace.is_plan else "it destroys things"
    if any(name not in specs or is_outside(specs[name]) for name in trace.tools_used):
        return "it has effects outside of the project"
    changed = [s for s in trace.steps if s.tool_version != specs[s.call.name].version]
    return f"the tool {changed[0].call.name} has changed since" if changed else ""


def _due(runtime: Runtime) -> Iterator[ExecutionTrace]:
    """Traces that have earned a tool, the most used first."""
    execution = runtime.config.execution
    tries, disabled = runtime.generated_notes.attempts(), _disabled(runtime)
    found = []
    for project in runtime.traces.projects():
        if not runtime.policy(project).allow_self_modification:
            continue
        for trace in runtime.traces.list(project):
            if trace.failure_streak or usable(runtime, trace) is not None:
                continue
            if trace.usage_count < execution.crystallization_threshold:
                continue
            if trace.success_rating < execution.crystallization_success_rate:
                continue
            if (project, trace.trace_id, trace.version) in disabled:
                continue
            last = tries.get((project, trace.trace_id))
            if last is not None and not _again(trace, last, execution.crystallization_threshold):
                continue
            if not unfit(runtime, trace):
                found.append(trace)
    yield from sorted(found, key=lambda trace: -trace.usage_count)


def _disabled(runtime: Runtime) -> set[tuple[str, str, int]]:
    """Versions of traces whose tool a person took out of use."""
    notes = runtime.generated_notes.notes().items()
    tools = [runtime.generated.get(ref) for ref, note in notes if note.status == "disabled"]
    return {
        (tool.record.project, source.trace_id, source.version)
        for tool in tools
        if tool is not None
        for source in tool.record.traces
    }


def _again(trace: ExecutionTrace, last: Attempt, more: int) -> bool:
    """Whether another try is due. A tool that was demoted since was a try, too."""
    return trace.version != last.version or trace.usage_count >= last.uses + more


def _made(runtime: Runtime, trace: ExecutionTrace) -> LoadedTool:
    """Compile, prove, sign, note. Raises LLMOSError saying what is against it."""
    if why := unfit(runtime, trace):
        raise PolicyDenied(f"{why}.")
    shelf = runtime.generated
    name = shelf.free_name(tool_name(trace), [trace.trace_id])
    compiled = compile_trace(trace, name)
    check_source(compiled.source)
    proof = _proved(runtime, trace, compiled)
    record = GeneratedTool(
        name=name,
        version=max(shelf.versions(name), default=0) + 1,
        project=trace.project,
        goal=trace.goal_text,
        template=goal_template(trace),
        parameters=compiled.parameters,
        tools={step.call.name: step.tool_version for step in trace.steps},
        traces=(
            SourceTrace(
                trace_id=trace.trace_id,
                version=trace.version,
                digest=trace_digest(trace),
                values={slot.name: slot.value for slot in trace.slots},
            ),
        ),
        made_at=iso(runtime.clock.now()),
        usage=trace.usage_count,
        success=trace.success_rating,
        recorded=proof.recorded,
        unused=proof.unused,
        source_digest="",
    )
    tool = shelf.put(record, compiled.source)
    if not runtime.traces.set_tool(trace.project, trace.trace_id, tool.record.ref):
        raise PolicyDenied("the trace was changed meanwhile.")
    return tool


def _proved(runtime: Runtime, trace: ExecutionTrace, compiled: Compiled) -> Proof:
    program = Program.of(compiled.name, compiled.source)
    with unattended(runtime, trace) as trials:
        return prove_tool(trials, trace, program, compiled.parameters)


@contextmanager
def unattended(runtime: Runtime, trace: ExecutionTrace) -> Iterator[Trials]:
    """Trials of a trace by nobody's run, on the project as it is now. Raises LLMOSError."""
    record = new_record(
        trace.goal_text,
        GoalOptions(project=trace.project),
        now=runtime.clock.now(),
        goal_id=f"crystallize-{trace.trace_id}",
    )
    limit = runtime.config.learning.prove_timeout_secs
    lease = Lease(record.goal_id, "upkeep", runtime.generated_notes.round(), 0.0)
    keeper = LeaseKeeper(runtime.goals, lease, ttl_s=limit + 60.0, clock=runtime.clock)
    guards = Unattended(record, runtime.goals, runtime.clock, keeper)
    decision = ModeDecision(mode=Mode.CRYSTALLIZED, reason="a trial", trace_id=trace.trace_id)
    agent = runtime.agents.get(trace.agent)
    before = runtime.stages.scratch(trace.project, record.goal_id, lease.fence, "before")
    try:
        run = Run(runtime, record, decision, guards, before)
        yield Trials(run, agent, before, runtime.clock.steady() + limit)
    finally:
        before.discard()
