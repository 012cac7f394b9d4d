"""Think: a model works on the goal (LEARNER), or with the help of a similar trace (MIXED)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmos_workers.contracts.errors import (
    Cancelled,
    DeadlineExceeded,
    PublishConflict,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.gate import GateRecord
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.execution.endings import describe
from llmos_workers.execution.llm import CallContext
from llmos_workers.execution.taint import RunTaint
from llmos_workers.execution.tools.shelf import Examples
from llmos_workers.flow import safety
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.approval import asker, budget_asker, doubter
from llmos_workers.flow.learn import learn
from llmos_workers.flow.offers import offers_of
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.progress import Progress
from llmos_workers.flow.prove import keep_before
from llmos_workers.flow.publish import publish
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.kernel import telemetry
from llmos_workers.learning.trace_seal import objection
from llmos_workers.sentience.manager import Felt
from llmos_workers.sentience.valence import TriggerFacts

HIGH_COST_MICRO = 500_000
"""Cost of one run from which it weighs on energy: the reference's estimate of a LEARNER run."""


def think(run: Run) -> Outcome:
    """Run the agent loop, from where the journal says it stands, and learn from a success.

    Raises Cancelled, DeadlineExceeded, LeaseLost, RateLimited (the queue waits), WorkerStopping
    (another worker goes on), BudgetExceeded (nothing could start), UnknownAgent, UnknownModel.
    """
    runtime, decision = run.runtime, run.decision
    experience, journal = _experience(run), journal_of(run)
    task = _task(run, experience, journal.done)
    started = runtime.clock.steady()
    fence = run.guards.keeper.lease.fence
    progress = Progress(runtime.goals, run.record.goal_id, fence=fence)
    context = call_context(run, progress)
    gate = runtime.gate_context(
        run, source="model", agent=task.agent, ask=asker(runtime.approvals, run)
    )
    gate.taint.notice = lambda words: runtime.notice(run.record.goal_id, words)
    if experience is not None and experience.tainted:
        gate.taint.mark(f"trace {experience.trace_id}")
    result = runtime.agent_loop.run(
        task,
        gate,
        context,
        journal=journal,
        doubt=doubter(runtime.approvals, run, runtime.config.execution.on_doubt),
        before_step=step_limits(run),
        on_breach=budget_asker(
            runtime.approvals, run, asks=runtime.config.kernel.on_breach == "ask"
        ),
    )
    progress.flush()
    run.guards.keeper.check()
    _feel(run, result, gate.noted)
    runtime.agent_records.count(task.agent.name, ok=result.error is None)
    saved_micro, learned = 0, None
    if result.error is None:
        before, duration_s = keep_before(run), runtime.clock.steady() - started
        try:
            _publish(run, result, gate.taint)
            if result.error is None:
                saved_micro = _saved(run, experience, result)
                with telemetry.span("llmos.learn"):
                    learned = learn(
                        run,
                        task,
                        result,
                        before,
                        context,
                        duration_s=duration_s,
                        tainted=bool(gate.taint.outside),
                        premises=tuple(sorted(set(gate.told))),
                        told_later=bool(gate.told_later),
                        reached=gate.taint.reached,
                    )
        finally:
            before.discard()
    outcome = make_outcome(
        run.record,
        _state(result),
        now=runtime.clock.now(),
        decision=decision,
        text=result.text,
        steps=result.steps,
        published=result.error is None,
        usage=result.usage,
        llm_calls=result.llm_calls,
        cost_micro=runtime.spent_on(run.record.goal_id),
        saved_micro=saved_micro,
        learned_trace_id=learned.trace_id if learned else None,
        error=result.error,
    )
    return outcome.model_copy(update={"tainted": gate.taint.outside})


def _publish(run: Run, result: AgentResult, taint: RunTaint) -> None:
    """A conflict ends the run as failed, with what it cost."""
    try:
        publish(run, result.steps, taint=taint)
    except (PublishConflict, WorkspaceUnwritable) as error:
        result.error = describe(error)


def step_limits(run: Run) -> Callable[[], None]:
    """What is asked before each step: may the run go on, here, and has it time left?"""
    clock, sdk = run.runtime.clock, run.runtime.config.sdk
    longest = sdk.timeout_secs * sdk.max_turns
    end = clock.steady() + longest

    def check() -> None:
        run.guards.before_step()
        if clock.steady() >= end:
            raise DeadlineExceeded(
                f"the run took longer than {longest:g} s.",
                fix="Raise sdk.timeout_secs or sdk.max_turns, or split the goal.",
            )

    return check


def _state(result: AgentResult) -> GoalState:
    if result.error is None:
        return GoalState.SUCCEEDED
    cancelled = result.error.kind == Cancelled.__name__
    return GoalState.CANCELLED if cancelled else GoalState.FAILED


def _experience(run: Run) -> ExecutionTrace | None:
    """The similar trace that helps a MIXED run, if it is still one that llmos vouches for."""
    if run.decision.mode is not Mode.MIXED or run.decision.trace_id is None:
        return None
    trace = run.runtime.traces.get(run.project, run.decision.trace_id)
    return None if trace is None or trace.is_plan or objection(trace) else trace


def _task(run: Run, experience: ExecutionTrace | None, done: tuple[TraceStep, ...]) -> AgentTask:
    runtime, sdk = run.runtime, run.runtime.config.sdk
    agent = agent_of(run)
    return AgentTask(
        goal=run.record.text,
        agent=agent,
        model=runtime.prices.resolve(agent.model or sdk.model),
        max_turns=min(agent.max_turns or sdk.max_turns, sdk.max_turns),
        max_tokens=sdk.max_tokens,
        experience=experience,
        done=done,
        examples=_examples(run),
        generated=offers_of(run, agent),
        purpose="mixed" if run.decision.mode is Mode.MIXED else "learn",
    )


def _examples(run: Run) -> Examples:
    if not run.runtime.config.execution.enable_tool_examples:
        return {}
    return run.runtime.examples.of(run.project)


def call_context(run: Run, progress: Progress) -> CallContext:
    """What a model call has to know of its run."""
    return CallContext(
        goal_id=run.record.goal_id,
        project=run.project,
        lease=run.guards.keeper.lease,
        goal_budget_micro=run.record.options.budget_micro,
        cancelled=run.guards.cancelled,
        deadline=run.record.options.deadline,
        on_event=progress,
    )


def _saved(run: Run, experience: ExecutionTrace | None, result: AgentResult) -> int:
    """Micro-dollars by which help made the run cheaper than the run it learned from."""
    if experience is None or experience.learn_cost_micro <= result.cost_micro:
        return 0
    saved = experience.learn_cost_micro - result.cost_micro
    lease = run.guards.keeper.lease
    run.runtime.economy.record_saved(
        goal_id=lease.goal_id, project=run.project, mode="MIXED", micro=saved, lease=lease
    )
    return saved


def _feel(run: Run, result: AgentResult, noted: Sequence[GateRecord]) -> None:
    """Tell the internal state how it went."""
    cost = TriggerFacts(cost_usd=result.cost_micro / 1e6)
    events = safety.felt(noted)
    if run.decision.mode is Mode.LEARNER:
        events.append(Felt(TriggerType.NOVEL_TASK, "a new kind of goal"))
    if result.discovered:
        found = ", ".join(result.discovered[:3])
        events.append(Felt(TriggerType.TOOL_DISCOVERY, f"found by search: {found}"))
    if result.error is None:
        events.append(Felt(TriggerType.TASK_SUCCESS, "solved by the model", cost))
    elif result.error.kind == Cancelled.__name__:
        events.append(Felt(TriggerType.EXTERNAL_INTERRUPTION, "cancelled"))
    elif result.error.kind == DeadlineExceeded.__name__:
        events.append(Felt(TriggerType.TIMEOUT, "past its deadline"))
    else:
        events.append(Felt(TriggerType.TASK_FAILURE, result.error.kind))
    if result.cost_micro >= HIGH_COST_MICRO:
        events.append(Felt(TriggerType.HIGH_COST, "an expensive run", cost))
    lease = run.guards.keeper.lease
    run.runtime.sentience.trigger_all(events, project=run.project, lease=lease)
