"""Dispatch: how do I feel, have I done this, what does that allow? Runs in the dispatch role,
the only one that asks the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.followable import replay_blockers
from llmos_workers.learning.strategies import ModeContext, strategy_for

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


class Dispatcher:
    """Chooses a mode for a goal and says why (``ModeDecision.reason``)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._decided: dict[str, int] = {}

    def decide(self, record: GoalRecord) -> ModeDecision:
        """Match the goal and let the strategy choose. Raises Refused or UnknownAgent."""
        runtime = self._runtime
        if record.options.agent is not None:
            runtime.agents.get(record.options.agent)
        policy = runtime.policy(record.project)
        match = self._match(record)
        context = ModeContext(
            goal=record.text,
            options=record.options,
            match=match,
            policy=policy,
            config=runtime.config.dispatcher,
        )
        decision = strategy_for(runtime.config).determine_mode(context)
        decision = self._with_trace_facts(record, decision)
        self._decided[decision.mode] = self._decided.get(decision.mode, 0) + 1
        return decision

    def _match(self, record: GoalRecord) -> MatchResult:
        """Candidates with what stands against replaying each of them, here and now."""
        runtime = self._runtime
        runtime.drain_outbox()
        match = runtime.matcher.match(record.text, record.project)
        candidates = tuple(self._checked(record, c) for c in match.candidates)
        return match.model_copy(update={"candidates": candidates})

    def _checked(self, record: GoalRecord, candidate: MatchCandidate) -> MatchCandidate:
        trace = self._runtime.traces.get(record.project, candidate.trace_id)
        if trace is None:
            return candidate.model_copy(update={"blockers": ("its trace is gone",)})
        blockers = replay_blockers(
            trace,
            candidate.slots,
            self._runtime.workspace.project(record.project).output,
            self._runtime.tools.versions(),
            stage=candidate.stage,
        )
        return candidate.model_copy(update={"blockers": tuple(blockers)})

    def _with_trace_facts(self, record: GoalRecord, decision: ModeDecision) -> ModeDecision:
        """Pin the trace's version, and estimate the cost from what it cost to learn."""
        if decision.trace_id is None:
            return decision
        trace = self._runtime.traces.get(record.project, decision.trace_id)
        if trace is None:
            return decision
        estimate = decision.estimated_micro
        if decision.mode.calls_model and trace.learn_cost_micro:
            estimate = max(estimate, trace.learn_cost_micro)
        return decision.model_copy(
            update={"trace_version": trace.version, "estimated_micro": estimate}
        )

    def preview(self, record: GoalRecord, decision: ModeDecision) -> dict[str, Any]:
        """What a dry run tells: mode, trace, slots, worst cost and the files it would touch."""
        trace = self._trace_of(record, decision)
        files = [f.path for f in trace.outputs] if trace and not decision.slots else []
        if trace and decision.slots:
            files = self._runtime.slotted_paths(trace, decision.slots)
        worst = self._worst_cost_micro(record, decision)
        return {
            "mode": decision.mode.value,
            "reason": decision.reason,
            "confidence": decision.confidence,
            "trace_id": decision.trace_id,
            "trace_goal": trace.goal_text if trace else None,
            "slots": decision.slots,
            "worst_cost_micro": worst,
            "worst_cost": format_usd(worst),
            "files": files,
            "files_known": bool(trace) and not decision.mode.calls_model,
            "candidates": [c.model_dump(mode="json") for c in decision.match.candidates],
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
