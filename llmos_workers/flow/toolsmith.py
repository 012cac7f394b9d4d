"""The toolsmith: a model proposes one tool for a family of traces, and the proof decides.

It is a goal like any other: metered, journaled, on the model's queue. The model is shown all
members of the family but one, and told what was wrong with its answer at most twice. Nothing that
it wrote runs before it kept the policy, and then only in the confined process.
"""

from __future__ import annotations

import logging

from llmos_workers.contracts.errors import (
    BrokerUnavailable,
    GoalStateError,
    PolicyDenied,
    ToolError,
)
from llmos_workers.contracts.generated import GeneratedTool, SourceTrace
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.outcome import ErrorInfo, Outcome, Usage
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.evolution.generated_notes import Attempt
from llmos_workers.execution.crystal.policy import check_source
from llmos_workers.execution.crystal.runners import Program
from llmos_workers.execution.llm_contracts import ModelRequest, ModelResponse
from llmos_workers.flow.crystallize import tell_made, unattended, unfit
from llmos_workers.flow.general_proof import Member, prove_general
from llmos_workers.flow.outcomes import error_info, make_outcome
from llmos_workers.flow.permit import permit
from llmos_workers.flow.progress import Progress
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.flow.think import call_context
from llmos_workers.kernel import wire
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.goals import new_record
from llmos_workers.learning.compiled import trace_digest
from llmos_workers.learning.families import (
    LEAST_MEMBERS,
    MOST_MEMBERS,
    families,
    unfit_to_generalize,
    values_in,
)
from llmos_workers.learning.toolsmith import (
    INSTRUCTIONS,
    SCHEMA,
    Proposal,
    question,
    read_proposal,
)
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

AGENT = "toolsmith"
PURPOSE = "toolsmith"
ROUNDS = 3
"""Answers of a model before it is given up."""
BUDGET_MICRO = 500_000
"""Most that one family may cost, in micro-dollars: what learning a goal is taken to cost."""
LOOK_SECS = 600.0
"""Pause between two searches for families: they look at every trace."""
MAX_TOKENS = 4_000


def submit(runtime: Runtime, family: list[ExecutionTrace]) -> GoalRecord:
    """Have a family generalized: the goal that does it. The same family is the same goal.

    Raises InvalidGoal, BrokerUnavailable.
    """
    ids = tuple(trace.trace_id for trace in family)
    versions = "-".join(f"{trace.trace_id[:8]}.{trace.version}" for trace in family)
    options = GoalOptions(
        project=family[0].project,
        mode=RequestedMode.LEARNER,
        agent=AGENT,
        budget_micro=BUDGET_MICRO,
        priority=3,
        generalize=ids,
        idempotency_key=f"generalize:{family[0].project}:{versions}"[:200],
    )
    text = f"Make one tool of {len(family)} traces, such as that of: {family[0].goal_text}"
    record, created = runtime.goals.create(new_record(text, options, now=runtime.clock.now()))
    if created:
        wire.publish(runtime.broker, [record])
    return record


def generalize_due(runtime: Runtime) -> str:
    """Now and then look for a family that nobody has tried yet, when models may be asked."""
    dispatcher = runtime.config.dispatcher
    if not (dispatcher.auto_crystallization and dispatcher.llm_allowed and runtime.confines):
        return "off"
    if not runtime.generated_notes.claim("families", LOOK_SECS):
        return "not now"
    return submit_family(runtime)


def submit_family(runtime: Runtime) -> str:
    """Submit one untried family; the goal's id, or that there is none."""
    tried = runtime.generated_notes.attempts()
    for project in runtime.traces.projects():
        if not runtime.policy(project).allow_self_modification:
            continue
        fit = [t for t in runtime.traces.list(project) if t.usage_count and not unfit(runtime, t)]
        for family in families(fit):
            if all(_untried(tried.get((project, _key(trace))), trace) for trace in family):
                for trace in family:
                    _note(runtime, trace, "submitted", made=False)
                return submit(runtime, family).goal_id
    return "none due"


def toolsmith(run: Run) -> Outcome:
    """Do the goal. Raises LeaseLost, Cancelled, RateLimited, BrokerUnavailable."""
    runtime = run.runtime
    said = _Said()
    try:
        tool = _make(run, said)
    except (GoalStateError, BrokerUnavailable):
        raise
    except (PolicyDenied, ToolError) as error:
        return _end(run, said, GoalState.FAILED, error=error_info(error))
    for source in tool.record.traces:
        trace = runtime.traces.get(run.project, source.trace_id)
        if trace is not None:
            _note(runtime, trace, tool.record.ref, made=True)
    tell_made(runtime, tool)
    return _end(run, said, GoalState.SUCCEEDED, text=f"{tool.record.ref}: {tool.record.template}")


class _Said:
    """What the model's calls took."""

    def __init__(self) -> None:
        self.usage, self.calls, self.model = Usage(), 0, ""


def _make(run: Run, said: _Said) -> LoadedTool:
    """Ask, check, prove, sign; the fault of one answer is told in the next question."""
    family = _family(run)
    fault = ""
    for turn in range(ROUNDS):
        run.guards.before_step()
        response = _ask(run, family[:-1], fault, turn, said)
        try:
            return _proved(run, family, read_proposal(response.text), said.model)
        except (PolicyDenied, ToolError) as error:
            fault = error.message
            run.runtime.notice(run.record.goal_id, f"the proposal is refused: {fault}")
    raise PolicyDenied(f"none of {ROUNDS} proposals could be proved; the last: {fault}")


def _family(run: Run) -> list[ExecutionTrace]:
    runtime, found = run.runtime, []
    for trace_id in run.record.options.generalize[:MOST_MEMBERS]:
        trace = runtime.traces.get(run.project, trace_id)
        if trace is None:
            raise PolicyDenied(f"trace {trace_id} is gone.")
        if why := unfit(runtime, trace) or unfit_to_generalize(trace):
            raise PolicyDenied(f"trace {trace_id} cannot be generalized: {why}.")
        found.append(trace)
    if len(found) < LEAST_MEMBERS:
        raise PolicyDenied(f"a family has at least {LEAST_MEMBERS} traces.")
    if not runtime.confines:
        raise PolicyDenied("this host confines nothing.")
    return found


def _ask(
    run: Run, cases: list[ExecutionTrace], fault: str, turn: int, said: _Said
) -> ModelResponse:
    runtime = run.runtime
    agent = runtime.agents.get(AGENT)
    said.model = runtime.prices.resolve(agent.model or runtime.config.sdk.model)
    request = ModelRequest(
        model=said.model,
        system=[{"type": "text", "text": f"{agent.prompt}\n\n{INSTRUCTIONS}"}],
        messages=[{"role": "user", "content": question(cases, fault)}],
        max_tokens=MAX_TOKENS,
        purpose=PURPOSE,
        output_schema=SCHEMA,
        turn=turn,
    )
    response = journal_of(run).response(turn)
    if response is None:
        permit(run)
        progress = Progress(runtime.goals, run.record.goal_id, fence=run.guards.keeper.lease.fence)
        response = runtime.gateway.complete(request, call_context(run, progress))
    said.calls += 1
    said.usage = said.usage + response.usage
    return response


def _proved(run: Run, traces: list[ExecutionTrace], proposal: Proposal, model: str) -> LoadedTool:
    """The tool on the shelf, and in use by its family. Raises PolicyDenied, ToolError."""
    runtime = run.runtime
    family = []
    for trace in traces:
        values = values_in(proposal.template, proposal.parameters, trace.goal_text)
        if values is None:
            raise PolicyDenied(f"the template is not the goal {trace.goal_text!r}.")
        family.append(Member(trace, values))
    tools = {s.call.name: s.tool_version for t in traces for s in t.steps}
    if unknown := proposal.checked.tools - tools.keys():
        raise PolicyDenied(f"no case calls {', '.join(sorted(unknown))}.")
    ids = [trace.trace_id for trace in traces]
    own = proposal.checked.name
    name = runtime.generated.free_name(own, ids)
    source = proposal.source.replace(f"def {own}(", f"def {name}(", 1)
    check_source(source)
    with unattended(runtime, traces[0]) as trials:
        proof = prove_general(trials, family, Program.of(name, source), proposal.parameters)
    first = family[0].values
    record = GeneratedTool(
        name=name,
        version=max(runtime.generated.versions(name), default=0) + 1,
        project=run.project,
        goal=traces[0].goal_text,
        template=proposal.template,
        parameters=tuple(
            p.model_copy(update={"value": first[p.name]}) for p in proposal.parameters
        ),
        tools=tools,
        traces=tuple(
            SourceTrace(
                trace_id=m.trace.trace_id,
                version=m.trace.version,
                digest=trace_digest(m.trace),
                values=m.values,
            )
            for m in family
        ),
        made_by=f"{AGENT} ({model})",
        made_at=iso(runtime.clock.now()),
        usage=sum(trace.usage_count for trace in traces),
        success=min(trace.success_rating for trace in traces),
        recorded=proof.recorded,
        unused=proof.unused,
        source_digest="",
    )
    run.guards.check()
    tool = runtime.generated.put(record, source)
    lease = run.guards.keeper.lease
    for trace in traces:
        runtime.traces.set_tool(run.project, trace.trace_id, record.ref, lease=lease)
    return tool


def _key(trace: ExecutionTrace) -> str:
    return f"general:{trace.trace_id}"


def _untried(last: Attempt | None, trace: ExecutionTrace) -> bool:
    return last is None or last.version != trace.version


def _note(runtime: Runtime, trace: ExecutionTrace, result: str, *, made: bool) -> None:
    attempt = Attempt(trace.version, trace.usage_count, result, made, runtime.clock.now())
    runtime.generated_notes.tried(trace.project, _key(trace), attempt)


def _end(
    run: Run, said: _Said, state: GoalState, *, text: str = "", error: ErrorInfo | None = None
) -> Outcome:
    runtime = run.runtime
    return make_outcome(
        run.record,
        state,
        now=runtime.clock.now(),
        decision=run.decision,
        text=text,
        usage=said.usage,
        llm_calls=said.calls,
        cost_micro=runtime.spent_on(run.record.goal_id),
        error=error,
    )
