"""Judging new wordings: asked once in the fleet's life, trusted by evidence, never by name.

Dispatch finds a candidate that structure can neither grant nor refuse (``in_doubt``); a run on
the llm queue asks the judge (``judge_first``). A yes of a judge whose record is good enough makes
the goal a FOLLOWER; a yes on probation lets the trace help (MIXED), and whether the model then
makes the same calls labels the verdict (verdict_label).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import Judged, MatchCandidate, ModeDecision
from llmos_workers.contracts.errors import BudgetExceeded, ModelError, RateLimited
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.outcome import Outcome, Usage
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.judge_call import WHOLE, Judge, JudgeRequest, may_judge
from llmos_workers.execution.llm_contracts import (
    JUDGE_KIND,
    CallContext,
    ModelResponse,
    read_journal_entry,
)
from llmos_workers.flow.followed import blockers_now
from llmos_workers.flow.permit import permit
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.flow.run import Run
from llmos_workers.flow.think import think
from llmos_workers.flow.verdict_label import keep_wording
from llmos_workers.kernel.clock import iso
from llmos_workers.learning.complexity import complexity
from llmos_workers.learning.judge import (
    SCHEMA,
    SYSTEM,
    UNSURE,
    YES,
    Question,
    Verdict,
    ask_text,
    question,
    read_verdict,
    worth_asking,
)
from llmos_workers.learning.plan_trace import plan_blockers
from llmos_workers.learning.posterior import ALIAS, FLOOR, Threshold
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.strategies import AutoModeStrategy, ModeContext, strategy_for
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.learning.verdicts import (
    WRONG,
    JudgeRecord,
    StoredVerdict,
    calls_digest,
    changed_values,
)

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

MODEL_ALONE = (Mode.LEARNER, Mode.MIXED)
"""Modes in which one model does the goal."""
LOOK_EVERY_SECS = 0.1
"""How often a run that waits for another one's verdict looks."""


# -- at dispatch -------------------------------------------------------------------------------


def in_doubt(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    context: ModeContext,
    known: Mapping[str, ExecutionTrace],
) -> ModeDecision:
    """The decision with what a judge said of its best doubtful candidate, or with the order to
    ask one. A decision that needs no judge comes back as it is.
    """
    if not _may_ask(runtime, record, decision):
        return decision
    strategy = strategy_for(runtime.config)
    if any(context.sure(c, strategy.threshold(context)) for c in decision.match.candidates):
        return decision  # it is known, and something else stands against following it
    candidate = _doubtful(
        runtime, record, decision, context.thresholds, known, may_plan=context.may_plan
    )
    if candidate is None:
        return decision
    trace = known[candidate.trace_id]
    verdict = runtime.verdicts.get(trace, goal_signature(record.text), candidate.slots)
    if verdict is None:
        reason = f"{decision.reason}; a judge is asked about {_goal(trace)}"
        return decision.model_copy(update={"to_judge": trace.trace_id, "reason": reason})
    return _Case(runtime, record, decision, trace).decided(verdict)


def _may_ask(runtime: Runtime, record: GoalRecord, decision: ModeDecision) -> bool:
    return (
        may_judge(runtime.config)
        and runtime.config.execution.enable_ptc
        and (decision.mode in MODEL_ALONE or _to_be_planned(decision))
        and record.options.mode is RequestedMode.AUTO
        and isinstance(strategy_for(runtime.config), AutoModeStrategy)
    )


def _to_be_planned(decision: ModeDecision) -> bool:
    """Whether a goal is to be split by a plan that nobody has made: what is known goes before."""
    return decision.mode is Mode.ORCHESTRATOR and decision.trace_id is None


def _doubtful(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    thresholds: Mapping[str, Threshold],
    known: Mapping[str, ExecutionTrace],
    *,
    may_plan: bool,
) -> MatchCandidate | None:
    """The nearest candidate that structure can neither grant nor refuse, and that could be
    followed here and now if it were the same.
    """
    related = runtime.config.judge.relatedness
    grey = [c for c in decision.match.candidates if worth_asking(c, related)]
    if _to_be_planned(decision):  # what does one part of it is found by that part
        many = runtime.config.dispatcher.complexity_threshold
        grey = [c for c in grey if complexity(c.goal_text) >= many]
    area = runtime.workspace.peek(record.place).output
    for candidate in sorted(grey, key=lambda c: -c.relatedness):
        trace, own = known.get(candidate.trace_id), thresholds.get(candidate.trace_id)
        if trace is None or (own is not None and own.value > ALIAS):
            continue
        if question(trace, candidate, record.text) is None:
            continue
        if trace.is_plan:
            agents = {agent.name for agent in runtime.agents.load_agents()}
            blockers = plan_blockers(trace, agents) if may_plan else ("it may not be split",)
        else:
            blockers = blockers_now(
                runtime, record, trace, candidate.slots, stage="judged", area=area
            )
        if not blockers:
            return candidate
    return None


# -- on the llm queue --------------------------------------------------------------------------


def judge_first(run: Run) -> Outcome | Handover:
    """Think; before it ask the judge, where dispatch wants it asked, and go the known way after
    all when its word is good enough. Raises what think and a model call raise.
    """
    judged = after_verdict(run, MODEL_ALONE)
    return judged if isinstance(judged, Handover) else think(judged)


def after_verdict(run: Run, here: Collection[Mode]) -> Run | Handover:
    """The run with what follows from the judge's word, where it is to be asked; a handover when
    that is none of the modes that are done ``here``. Raises what a model call raises.
    """
    if run.decision.to_judge is None:
        return run
    permit(run)
    decision = _judged(run)
    if decision.mode not in here:
        run.stage.discard()
        return Handover(decision, ())
    run.runtime.goals.transition(
        run.record.goal_id,
        GoalState.RUNNING,
        fence=run.guards.keeper.lease.fence,
        decision=decision,
        event={"mode": decision.mode.value, "reason": decision.reason},
    )
    return replace(run, decision=decision)


@dataclass(frozen=True)
class _Asked:
    """What asking came to."""

    verdict: Verdict
    responses: tuple[ModelResponse, ...]


def _judged(run: Run) -> ModeDecision:
    runtime, record = run.runtime, run.record
    decision = run.decision.model_copy(update={"to_judge": None})
    trace = runtime.traces.get(run.project, run.decision.to_judge or "")
    found = (c for c in decision.match.candidates if c.trace_id == run.decision.to_judge)
    candidate, judge = next(found, None), runtime.judge
    asked = question(trace, candidate, record.text) if trace and candidate else None
    if trace is None or candidate is None or judge is None or asked is None:
        return decision
    signature = goal_signature(record.text)
    case = _Case(runtime, record, decision, trace)
    known = _wait_for_another(run, trace, signature, candidate.slots)
    if known is not None:
        return case.decided(known)
    try:
        said = _ask(run, judge, asked, destructive=trace.destructive)
        verdict = runtime.verdicts.keep(
            trace,
            signature,
            StoredVerdict(
                judge=judge.name,
                answer=said.verdict.answer,
                reasons=said.verdict.reasons,
                calls=calls_digest(trace),
                slots=changed_values(trace, candidate.slots),
                at=iso(runtime.clock.now()),
                cost_micro=sum(r.cost_micro for r in said.responses),
                goal=one_line(record.text, 400),
            ),
            lease=run.guards.keeper.lease,
        )
    except RateLimited:
        raise
    except (ModelError, BudgetExceeded) as error:
        runtime.notice(record.goal_id, f"the judge could not be asked: {error}")
        return decision
    finally:
        runtime.verdicts.give_up(trace, signature, record.goal_id)
    return case.decided(verdict, said.responses)


def _wait_for_another(
    run: Run, trace: ExecutionTrace, signature: str, slots: Mapping[str, str]
) -> StoredVerdict | None:
    """The verdict that another goal of this wording is buying, once it is there; None when it
    is for this one to ask.
    """
    verdicts = run.runtime.verdicts
    while True:
        verdict = verdicts.get(trace, signature, slots)
        if verdict is not None or verdicts.claim(trace, signature, run.record.goal_id):
            return verdict
        run.guards.check()
        time.sleep(LOOK_EVERY_SECS)


def _ask(run: Run, judge: Judge, asked: Question, *, destructive: bool) -> _Asked:
    """One vote; two where the calls destroy something. What an earlier run bought is read."""
    bought = _bought(run)
    ctx = CallContext(
        goal_id=run.record.goal_id,
        project=run.project,
        lease=run.guards.keeper.lease,
        goal_budget_micro=run.record.options.budget_micro,
        cancelled=run.guards.cancelled,
        deadline=run.record.options.deadline,
    )
    verdict, responses = Verdict(UNSURE), list[ModelResponse]()
    for vote in range(2 if destructive else 1):
        text = ask_text(asked, second=vote > 0)
        response = bought.get(vote)
        if response is None:
            run.guards.check()
            response = judge.ask(JudgeRequest(SYSTEM, text, SCHEMA, vote), ctx)
        responses.append(response)
        verdict = read_verdict(response.text, asked, whole=response.stop_reason in WHOLE)
        if verdict.answer != YES:
            break
    return _Asked(verdict, tuple(responses))


def _bought(run: Run) -> dict[int, ModelResponse]:
    entries = run.runtime.goals.journal(run.record.goal_id)
    found = (read_journal_entry(entry, JUDGE_KIND) for entry in entries)
    return dict(entry for entry in found if entry is not None)


# -- what follows from a verdict ---------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """A goal, the decision before the verdict, and the trace it is about."""

    runtime: Runtime
    record: GoalRecord
    decision: ModeDecision
    trace: ExecutionTrace

    def decided(
        self, verdict: StoredVerdict, responses: tuple[ModelResponse, ...] = ()
    ) -> ModeDecision:
        """The decision that follows from a verdict, new or known."""
        runtime = self.runtime
        judge = runtime.verdicts.record(verdict.judge)
        judged = Judged(
            trace_id=self.trace.trace_id,
            judge=verdict.judge,
            answer=verdict.answer,
            reasons=verdict.reasons,
            trusted=judge.trusted(runtime.config.dispatcher.max_replay_error),
            calls=len(responses),
            cost_micro=sum(r.cost_micro for r in responses),
            usage=sum((r.usage for r in responses), Usage()),
        )
        if verdict.answer != YES or verdict.label == WRONG:
            return self._refused(judged, verdict)
        if not judged.trusted:
            return self._on_probation(judged, judge)
        if not self.record.options.dry_run:
            keep_wording(runtime, self.record, self.decision, self.trace)
        policy = runtime.policy(self.record.project)
        followed = self._followed(judged, judge)
        return runtime.cognitive_kernel.modulate_mode_decision(followed, policy)

    def _refused(self, judged: Judged, verdict: StoredVerdict) -> ModeDecision:
        word = "said yes and was wrong" if verdict.answer == YES else f"says {verdict.answer}"
        why = f" ({verdict.reasons[0]})" if verdict.reasons else ""
        reason = f"{self.decision.reason}; a judge {word}: is it {_goal(self.trace)}?{why}"
        return self.decision.model_copy(update={"reason": reason, "judged": judged})

    def _on_probation(self, judged: Judged, judge: JudgeRecord) -> ModeDecision:
        allowed = self.runtime.config.dispatcher.max_replay_error
        reason = (
            f"a judge says it means the same as {_goal(self.trace)}, on probation: of "
            f"{judge.labelled} such words of {judge.name} {judge.wrong} were wrong, which bounds "
            f"its error at {judge.false_bound:.1%}, above {allowed:.1%}"
        )
        if self.trace.is_plan:  # it is no help: another one is made, and told from it
            reason = f"{self.decision.reason}; {reason}"
            return self.decision.model_copy(update={"reason": reason, "judged": judged})
        update = {"mode": Mode.MIXED, "reason": reason, "judged": judged, **self._trace()}
        return self.decision.model_copy(update=update)

    def _followed(self, judged: Judged, judge: JudgeRecord) -> ModeDecision:
        confidence = max(FLOOR, 1.0 - judge.false_bound)
        candidates = tuple(
            c.model_copy(update={"stage": "judged", "confidence": confidence})
            if c.trace_id == self.trace.trace_id
            else c
            for c in self.decision.match.candidates
        )
        slots = next(c.slots for c in candidates if c.trace_id == self.trace.trace_id)
        return self.decision.model_copy(
            update={
                "mode": Mode.ORCHESTRATOR if self.trace.is_plan else Mode.FOLLOWER,
                "reason": f"a judge says it means the same as {_goal(self.trace)}; at most "
                f"{judge.false_bound:.1%} of such words of {judge.name} are wrong",
                "confidence": confidence,
                "slots": slots,
                "estimated_micro": 0,
                "judged": judged,
                "match": self.decision.match.model_copy(update={"candidates": candidates}),
                **self._trace(),
            }
        )

    def _trace(self) -> dict[str, object]:
        return {"trace_id": self.trace.trace_id, "trace_version": self.trace.version}


def _goal(trace: ExecutionTrace) -> str:
    return repr(one_line(trace.goal_text, 80))
