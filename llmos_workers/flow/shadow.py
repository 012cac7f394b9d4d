"""Shadow audit: a sample of replayed goals is run again by a model and the effects compared.

The replay ends as ever and calls no model. Afterwards a goal of its own does the same work in a
stage set back to before the replay's commit; nothing of it is published or learned. What it
finds is the live rate of wrong replays (``llmos audit``) and evidence about the trace.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from zlib import crc32

from llmos_workers.contracts.audits import AuditVerdict
from llmos_workers.contracts.base import usd_to_micro
from llmos_workers.contracts.commits import Commit, FileKind
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import GoalNotFound, InvalidOption, LLMOSError
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState
from llmos_workers.contracts.modes import REPLAYS, RequestedMode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.tools import COMMAND_TOOLS
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.execution.once import is_outside
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.outcomes import make_outcome
from llmos_workers.flow.progress import Progress
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.flow.think import call_context, step_limits
from llmos_workers.kernel import tree, wire
from llmos_workers.kernel.goals import new_record
from llmos_workers.kernel.rewind import rewind
from llmos_workers.learning.answers import without_date
from llmos_workers.learning.shadow import Agreement, Comparison, Effects, compare_effects
from llmos_workers.learning.signature import goal_signature
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

AUDIT_PROJECT = "shadow-audit"
"""Under this name the money of all audits is spent, and its limit per day holds."""
AUDIT_PRIORITY = 3
LARGEST_BYTES = 8 << 20
"""Files beyond this are not compared by content, but by digest only."""
SHARE_STEPS = 1_000_000


def offer(run: Run, outcome: Outcome) -> str | None:
    """Submit the audit of a goal that has just ended, when it was replayed, is in the sample and
    there is money for it; the audit's goal id. Never harms the replay.
    """
    runtime, record = run.runtime, run.record
    if outcome.mode not in REPLAYS or not outcome.ok:
        return None
    if record.options.member is not None:
        return None  # its files are its plan's, which will have gone with its board
    if not sampled(record.goal_id, runtime.config.dispatcher.audit_share):
        return None
    try:
        trace = runtime.traces.get(run.project, outcome.trace_id or "")
        if trace is None or not _confined(runtime, trace) or not _affordable(runtime, trace):
            return None
        shadow = new_record(
            record.text, _options(record), now=runtime.clock.now(), traceparent=record.traceparent
        )
        stored, created = runtime.goals.create(shadow)
        if created:
            wire.publish(runtime.broker, [stored])
    except LLMOSError as error:
        log.warning("goal %s is not audited: %s", record.goal_id, error)
        return None
    return stored.goal_id


def sampled(goal_id: str, share: float) -> bool:
    """Whether a goal is in the sample: the same answer each time, for ``share`` of all ids."""
    return crc32(goal_id.encode()) % SHARE_STEPS < share * SHARE_STEPS


def _confined(runtime: Runtime, trace: ExecutionTrace) -> bool:
    """Only what stays inside a stage can be done twice."""
    reached = trace.tainted and COMMAND_TOOLS.intersection(trace.tools_used)
    return not reached and _confined_tools(runtime).issuperset(trace.tools_used)


def _confined_tools(runtime: Runtime) -> frozenset[str]:
    return frozenset(
        name for name, spec in runtime.tools.all_specs().items() if not is_outside(spec)
    )


def _affordable(runtime: Runtime, trace: ExecutionTrace) -> bool:
    """Whether today's money for audits pays for another run like the learning run."""
    scope, limit = f"project:{AUDIT_PROJECT}", _day_limit(runtime)
    (state,) = runtime.economy.states([scope])
    day = next((sums for sums in state.windows if sums.window == "day"), None)
    if day is None or day.limit_micro != limit:
        try:
            runtime.economy.set_limit(scope, limit, window="day")
        except InvalidOption:
            return False  # lowered below what was spent today
        (state,) = runtime.economy.states([scope])
        day = next(sums for sums in state.windows if sums.window == "day")
    return (day.left_micro or 0) > 2 * trace.learn_cost_micro


def _day_limit(runtime: Runtime) -> int:
    return usd_to_micro(runtime.config.dispatcher.audit_usd_per_day)


def _options(record: GoalRecord) -> GoalOptions:
    return GoalOptions(
        project=record.project,
        mode=RequestedMode.LEARNER,
        agent=record.options.agent,
        priority=AUDIT_PRIORITY,
        shadow_of=record.goal_id,
        idempotency_key=f"shadow:{record.goal_id}",
        metadata={"shadow_of": record.goal_id},
    )


@dataclass(frozen=True)
class _Audited:
    """The replay under audit."""

    outcome: Outcome
    decision: ModeDecision
    commit: Commit | None


def shadow(run: Run) -> Outcome:
    """Run the goal again and compare. Raises Cancelled, DeadlineExceeded, LeaseLost, RateLimited,
    BudgetExceeded, UnknownAgent, UnknownModel.
    """
    audited = _audited(run)
    if isinstance(audited, str):
        return _end(run, f"not audited: {audited}")
    if run.stage.resumed_from is None and audited.commit is not None:
        objects = run.runtime.publisher.objects(run.stage.project)
        rewind(run.stage, audited.commit, objects)
    result = _think(run)
    run.guards.keeper.check()
    if result.error is not None:
        return _end(run, f"not audited: the model's run failed: {result.error.message}", result)
    if moved := _moved(run, audited):
        return _end(run, f"not audited: {moved}", result)
    found = _compare(run, audited, result)
    _record(run, audited, found)
    why = f": {'; '.join(found.why)}" if found.why else ""
    return _end(run, f"the replay and the model {found.agreement}{why}", result)


def _audited(run: Run) -> _Audited | str:
    """The replay, or why it cannot be audited any more."""
    runtime, goal_id = run.runtime, run.record.options.shadow_of or ""
    try:
        record = runtime.goals.get(goal_id)
    except GoalNotFound:
        return "the replayed goal is forgotten"
    if record.outcome is None or record.decision is None:
        return "the replayed goal has not ended"
    if record.outcome.mode not in REPLAYS or not record.outcome.ok:
        return "the goal was not replayed to its end"
    commits = runtime.publisher.log.of_goal(run.project, goal_id)
    if len(commits) > 1:
        return "the replayed goal was undone"
    found = _Audited(record.outcome, record.decision, commits[0] if commits else None)
    return _moved(run, found) or found


def _moved(run: Run, audited: _Audited) -> str:
    """Why the files are no longer those of the replay's moment; "" when they are."""
    trace = run.runtime.traces.get(run.project, audited.outcome.trace_id or "")
    if trace is None:
        return "its trace is gone"
    inputs = {file.path for file in trace.inputs}
    made = {file.path for file in audited.commit.files} if audited.commit else set()
    seq = audited.commit.seq if audited.commit else run.stage.start
    if run.runtime.publisher.log.since(run.project, seq, inputs | made):
        return "its files were changed since by another goal"
    for file in audited.commit.files if audited.commit else ():
        if tree.state_at(run.stage.project.output, file.path) != file.after:
            return f"{file.path} was changed since"
    return ""


def _think(run: Run) -> AgentResult:
    runtime, sdk = run.runtime, run.runtime.config.sdk
    agent = agent_of(run)
    confined = _confined_tools(runtime)
    agent = agent.model_copy(
        update={"tools": tuple(name for name in agent.tools if name in confined)}
    )
    task = AgentTask(
        goal=run.record.text,
        agent=agent,
        model=runtime.prices.resolve(agent.model or sdk.model),
        max_turns=min(agent.max_turns or sdk.max_turns, sdk.max_turns),
        max_tokens=sdk.max_tokens,
        purpose="audit",
    )
    progress = Progress(runtime.goals, run.record.goal_id, fence=run.guards.keeper.lease.fence)
    context = replace(call_context(run, progress), project=AUDIT_PROJECT)
    result = runtime.agent_loop.run(
        task,
        runtime.gate_context(run, source="model", agent=agent),
        context,
        journal=journal_of(run),
        before_step=step_limits(run),
    )
    progress.flush()
    return result


def _compare(run: Run, audited: _Audited, result: AgentResult) -> Comparison:
    commit, stage = audited.commit, run.stage
    before = {file.path: file.before for file in commit.files} if commit else {}
    touched = {change.path for change in stage.changes()} | before.keys()
    replayed = {path: _content(run, path, published=True) for path in before}
    again = {
        path: _content(run, path, published=False)
        for path in touched
        # What the model left as the stage was set back to, it did not change.
        if path not in before or tree.state_at(stage.area, path) != before[path]
    }
    existed = {path for path in touched if before.get(path) or path in stage.base.keys() - before}
    return compare_effects(
        run.record.text,
        Effects(without_date(audited.outcome.text), replayed),
        Effects(result.text, again),
        existed=existed,
    )


def _content(run: Run, path: str, *, published: bool) -> bytes | None:
    """What a file holds; for what is no file, or too large to read, its state as text."""
    root = run.stage.project.output if published else run.stage.area
    state = tree.state_at(root, path)
    if state is None:
        return None
    if state.kind is FileKind.FILE and state.size <= LARGEST_BYTES:
        return (root / path).read_bytes()
    return state.model_dump_json(exclude={"mode"}).encode()


def _record(run: Run, audited: _Audited, found: Comparison) -> None:
    followed = next(
        (c for c in audited.decision.match.candidates if c.trace_id == audited.outcome.trace_id),
        None,
    )
    verdict = AuditVerdict(
        goal_id=audited.outcome.goal_id,
        audit_id=run.record.goal_id,
        project=run.project,
        goal_text=run.record.text,
        trace_id=audited.outcome.trace_id or "",
        trace_version=audited.outcome.trace_version,
        stage=followed.stage if followed else "exact",
        confidence=audited.outcome.confidence,
        agreement=found.agreement,
        why=found.why,
        at=run.runtime.clock.now(),
    )
    run.runtime.audits.add(verdict, lease=run.guards.keeper.lease)
    if found.agreement is Agreement.UNCLEAR:
        return
    run.runtime.traces.add_evidence(
        run.project,
        verdict.trace_id,
        stage=verdict.stage,
        confidence=verdict.confidence,
        right=found.agreement is Agreement.AGREED,
        outcome_id=run.record.goal_id,
        lease=run.guards.keeper.lease,
    )
    trace = run.runtime.traces.get(run.project, verdict.trace_id)
    if trace is not None:  # where a judge had vouched for it, this is how its word came out
        signature = goal_signature(run.record.text)
        agreed, lease = found.agreement is Agreement.AGREED, run.guards.keeper.lease
        run.runtime.verdicts.label(trace, signature, right=agreed, lease=lease)
    if found.agreement is Agreement.DISAGREED:
        log.warning(
            "audit: goal %s was replayed otherwise than a model does it: %s",
            audited.outcome.goal_id,
            "; ".join(found.why),
        )


def _end(run: Run, text: str, result: AgentResult | None = None) -> Outcome:
    runtime = run.runtime
    return make_outcome(
        run.record,
        GoalState.SUCCEEDED,
        now=runtime.clock.now(),
        text=text,
        steps=result.steps if result else (),
        published=False,
        usage=result.usage if result else None,
        llm_calls=result.llm_calls if result else 0,
        cost_micro=runtime.spent_on(run.record.goal_id),
    )
