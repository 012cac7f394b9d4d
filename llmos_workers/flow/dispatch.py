"""Dispatch: how do I feel, have I done this, what does that allow? Runs in the dispatch role,
the only one that asks the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.agents import AUTO
from llmos_workers.contracts.decision import MatchResult, ModeDecision
from llmos_workers.contracts.errors import NoTrace, PolicyDenied
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.flow.crystal import usable
from llmos_workers.flow.explain import explained
from llmos_workers.flow.followed import blockers_now
from llmos_workers.flow.general_run import generalized
from llmos_workers.flow.judge import in_doubt
from llmos_workers.learning.followable import path_with_slots
from llmos_workers.learning.plan_trace import plan_blockers
from llmos_workers.learning.posterior import Threshold, own_threshold
from llmos_workers.learning.quarantine import without_unapproved
from llmos_workers.learning.strategies import (
    ForcedLearnerStrategy,
    ModeContext,
    strategy_for,
)

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


class Dispatcher:
    """Chooses a mode for a goal and says why (``ModeDecision.reason``)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._decided: dict[str, int] = {}

    def decide(self, record: GoalRecord) -> ModeDecision:
        """Match the goal and let the strategy choose.

        Raises Refused, UnknownAgent; IndexUnavailable when the goal is no exact repeat and the
        index does not answer: learning what may be known already would be paid for nothing.
        """
        runtime = self._runtime
        if record.options.agent not in (None, AUTO):
            runtime.agents.get(record.options.agent)
        found = runtime.matcher.find(record.text, record.project)
        known = found.traces
        match = without_unapproved(found.result, known)
        context = ModeContext(
            goal=record.text,
            options=record.options,
            match=match,
            policy=runtime.policy(record.project),
            config=runtime.config.dispatcher,
            blockers=self._blockers(record, match, known),
            versions={trace_id: trace.version for trace_id, trace in known.items()},
            thresholds=self._thresholds(known),
            compiled=self._compiled(known),
            plans=frozenset(trace_id for trace_id, trace in known.items() if trace.is_plan),
            may_plan=_may_plan(runtime, record),
        )
        decision = self._chosen(record, context)
        decision = in_doubt(runtime, record, decision, context, known)
        self._decided[decision.mode] = self._decided.get(decision.mode, 0) + 1
        return _with_estimate(decision, known)

    def _chosen(self, record: GoalRecord, context: ModeContext) -> ModeDecision:
        """What the strategy says; a generalized tool before a model, where it fits the goal."""
        runtime, asked = self._runtime, record.options.mode
        strategy = strategy_for(runtime.config)
        try:
            decision = strategy.determine_mode(context)
        except (NoTrace, PolicyDenied):
            if asked not in (RequestedMode.AUTO, RequestedMode.CRYSTALLIZED):
                raise
            general = generalized(runtime, record, context.match)
            if general is None:
                raise
            return general
        if not decision.mode.calls_model or asked is not RequestedMode.AUTO:
            return decision
        if strategy.name == ForcedLearnerStrategy.name:
            return decision
        general = generalized(runtime, record, context.match)
        if general is None:
            return decision
        return runtime.cognitive_kernel.modulate_mode_decision(general, context.policy)

    def _thresholds(self, known: dict[str, ExecutionTrace]) -> dict[str, Threshold]:
        """From where each trace with labelled outcomes is followed."""
        config = self._runtime.config.dispatcher
        return {
            trace_id: own_threshold(
                trace.evidence, config.follower_threshold, config.max_replay_error
            )
            for trace_id, trace in known.items()
            if trace.evidence
        }

    def _compiled(self, known: dict[str, ExecutionTrace]) -> dict[str, str]:
        """Which of the traces have a generated tool that may run here."""
        tools = {
            trace_id: usable(self._runtime, trace)
            for trace_id, trace in known.items()
            if trace.crystallized_into_tool
        }
        return {trace_id: tool.record.ref for trace_id, tool in tools.items() if tool is not None}

    def _blockers(
        self, record: GoalRecord, match: MatchResult, known: dict[str, ExecutionTrace]
    ) -> dict[str, tuple[str, ...]]:
        """What stands against replaying each candidate, here and now. Only what is sure enough
        to be followed is looked at: its inputs are read from the disk.
        """
        runtime = self._runtime
        area = runtime.workspace.peek(record.place).output
        found: dict[str, tuple[str, ...]] = {}
        for candidate in match.candidates:
            trace = known[candidate.trace_id]
            if trace.is_plan:
                agents = {agent.name for agent in runtime.agents.load_agents()}
                found[candidate.trace_id] = plan_blockers(trace, agents)
            elif not runtime.config.execution.enable_ptc:
                found[candidate.trace_id] = ("replay is switched off (execution.enable_ptc)",)
            elif candidate.confidence >= runtime.config.dispatcher.follower_threshold:
                found[candidate.trace_id] = blockers_now(
                    runtime, record, trace, candidate.slots, stage=candidate.stage, area=area
                )
        return found

    def preview(self, record: GoalRecord, decision: ModeDecision) -> dict[str, Any]:
        """What a dry run tells: mode, trace, slots, worst cost and the files it would touch."""
        trace = self._trace_of(record, decision)
        files = []
        sure = trace is not None and not decision.generalized
        if trace is not None and sure and not trace.is_plan:
            files = [path_with_slots(trace, decision.slots, f.path) for f in trace.outputs]
        return {
            "mode": decision.mode.value,
            "reason": decision.reason,
            "confidence": decision.confidence,
            "trace_id": decision.trace_id,
            "trace_goal": trace.goal_text if trace else None,
            "slots": decision.slots,
            "worst_cost_micro": self._worst_cost_micro(record, decision),
            "files": files,
            "files_known": sure and not decision.mode.calls_model,
            "threshold": decision.threshold,
            "strategy": decision.strategy,
            "to_judge": decision.to_judge,
            "candidates": explained(self._runtime, record, decision),
        }

    def _trace_of(self, record: GoalRecord, decision: ModeDecision) -> ExecutionTrace | None:
        if decision.trace_id is None:
            return None
        return self._runtime.traces.get(record.project, decision.trace_id)

    def _worst_cost_micro(self, record: GoalRecord, decision: ModeDecision) -> int:
        """Bound of a whole run: what is left of the goal's own budget, or max_turns full calls."""
        if not decision.mode.calls_model:
            return 0
        if record.options.budget_micro is not None:
            return record.options.budget_micro
        sdk = self._runtime.config.sdk
        model = self._runtime.prices.resolve(sdk.model)
        # A context this large is what a long run reaches; the ledger decides in the end.
        one_call = self._runtime.prices.bound(model, 64_000, sdk.max_tokens)
        return one_call * sdk.max_turns

    def get_execution_layer_stats(self) -> dict[str, Any]:
        """How often each mode was chosen by this process, and what the layer has at hand."""
        execution = self._runtime.config.execution
        return {
            "decisions": {str(mode): count for mode, count in sorted(self._decided.items())},
            "modes": [mode.value for mode in Mode],
            "tools": sorted(self._runtime.tools.versions()),
            "ptc": execution.enable_ptc,
            "indexed": self._runtime.index.count(),
        }


def _may_plan(runtime: Runtime, record: GoalRecord) -> bool:
    """Whether the goal may be split: not below the deepest level, not again what is an audit."""
    settings = runtime.config.orchestration
    return (
        settings.enabled and record.depth < settings.max_depth and record.options.shadow_of is None
    )


def _with_estimate(decision: ModeDecision, known: dict[str, ExecutionTrace]) -> ModeDecision:
    """What the trace cost to learn says more about the cost than the mode's usual estimate."""
    trace = known.get(decision.trace_id or "")
    if trace is None or not decision.mode.calls_model or not trace.learn_cost_micro:
        return decision
    estimate = max(decision.estimated_micro, trace.learn_cost_micro)
    return decision.model_copy(update={"estimated_micro": estimate})
