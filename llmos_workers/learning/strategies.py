"""Which mode a goal runs in: the strategies, pure, with their reasons in words.

All strategies keep one floor: nothing is replayed below the follower threshold, which is never
below 0.92, and nothing is replayed that has a blocker. What a submitter asks for explicitly goes
before the strategy, but never under that floor either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from llmos_workers.config import DispatcherConfig, LLMOSConfig
from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.errors import ConfigError, NoTrace, PolicyDenied
from llmos_workers.contracts.goal import GoalOptions
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.learning.complexity import complexity
from llmos_workers.learning.posterior import FLOOR, Threshold, standing
from llmos_workers.learning.reasons import (
    describe,
    likeness,
    nothing_known,
    why_learn,
    why_not,
    why_split,
)
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel

DEFAULT_ESTIMATES: Mapping[Mode, int] = {
    Mode.LEARNER: 500_000,
    Mode.MIXED: 250_000,
    Mode.ORCHESTRATOR: 1_500_000,
}
"""What a run may cost before anything better is known, in micro-dollars."""


@dataclass(frozen=True, slots=True)
class ModeContext:
    """Everything a strategy may know; it asks nobody else."""

    goal: str
    options: GoalOptions = field(default_factory=GoalOptions)
    match: MatchResult = field(default_factory=MatchResult)
    policy: CognitivePolicy = field(default_factory=CognitivePolicy)
    config: DispatcherConfig = field(default_factory=DispatcherConfig)
    estimates: Mapping[Mode, int] = field(default_factory=dict)
    """Micro-dollars; modes left out take DEFAULT_ESTIMATES."""
    blockers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Trace id -> why it may not be followed now (followable.replay_blockers)."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Trace id -> version, as far as known."""
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """Trace id -> from where it is followed, by what became of following it; others follow from
    the strategy's own threshold."""
    compiled: Mapping[str, str] = field(default_factory=dict)
    """Trace id -> the generated tool that does what it does."""
    plans: frozenset[str] = frozenset()
    """Traces that hold plans: followed they send off sub-goals."""
    may_plan: bool = False
    """Whether the goal may be split."""
    index_down: bool = False
    """Whether the index could not be asked, so that only exact repeats were found."""

    def blockers_of(self, candidate: MatchCandidate) -> tuple[str, ...]:
        """What the matcher and the follow rules have against a candidate."""
        return (*candidate.blockers, *self.blockers.get(candidate.trace_id, ()))

    def sure(self, candidate: MatchCandidate, threshold: float) -> bool:
        """Whether a candidate is sure enough for the strategy and for what is known of its
        trace.
        """
        own = self.thresholds.get(candidate.trace_id)
        if own is not None and own.value > threshold:
            return standing(candidate.stage, candidate.confidence) >= own.value
        return candidate.confidence >= threshold

    def estimate(self, mode: Mode) -> int:
        """Upper estimate in micro-dollars; 0 for modes without a model."""
        if not mode.calls_model:
            return 0
        return self.estimates.get(mode, DEFAULT_ESTIMATES.get(mode, 0))


class ModeSelectionStrategy(ABC):
    """Chooses a mode. Stateless."""

    name: ClassVar[str]
    extra_complexity: ClassVar[int] = 0
    """Added to the complexity from which a goal counts as several."""

    def determine_mode(self, context: ModeContext) -> ModeDecision:
        """The decision with its reason. Raises NoTrace and PolicyDenied."""
        asked = context.options.mode
        decision = self.choose(context) if asked is RequestedMode.AUTO else _asked(self, context)
        if decision.mode.calls_model and not context.config.llm_allowed:
            raise PolicyDenied(
                f"this goal needs a model ({decision.mode}: {decision.reason}), and the "
                "configuration forbids model calls.",
                fix="Set dispatcher.llm_allowed, or use another preset than 'testing'.",
            )
        return decision

    @abstractmethod
    def choose(self, context: ModeContext) -> ModeDecision:
        """The decision when the submitter leaves it to us."""

    def threshold(self, context: ModeContext) -> float:
        """Confidence from which a trace is followed."""
        return max(FLOOR, context.config.follower_threshold)

    def related_enough(self, context: ModeContext) -> float:
        """Relatedness (cosine) from which a trace helps a model."""
        return context.config.relatedness_threshold

    def complex_from(self, context: ModeContext) -> int:
        """Pieces of work from which a goal counts as several."""
        return context.config.complexity_threshold + self.extra_complexity

    def decide(
        self,
        context: ModeContext,
        mode: Mode,
        reason: str,
        candidate: MatchCandidate | None = None,
    ) -> ModeDecision:
        """A decision that carries what it rests on."""
        own = context.thresholds.get(candidate.trace_id) if candidate else None
        threshold = max(self.threshold(context), own.value if own else 0.0)
        return ModeDecision(
            mode=mode,
            reason=reason,
            confidence=candidate.confidence if candidate else 0.0,
            threshold=min(threshold, 1.0),
            trace_id=candidate.trace_id if candidate else None,
            trace_version=context.versions.get(candidate.trace_id) if candidate else None,
            slots=candidate.slots if candidate else {},
            tool=_tool(context, mode, candidate),
            strategy=self.name,
            estimated_micro=context.estimate(mode),
            match=context.match,
        )


class AutoModeStrategy(ModeSelectionStrategy):
    """Follow what is sure and proved, let a related trace help, else learn."""

    name = "auto"

    def choose(self, context: ModeContext) -> ModeDecision:
        """CRYSTALLIZED, FOLLOWER (or the known plan), MIXED, ORCHESTRATOR or LEARNER, in that
        order.

        A trace that is only related does one part of a goal of several, and a plan finds that
        part by itself: it helps only where no plan is made.
        """
        follow = _to_follow(context, self.threshold(context))
        if follow is not None:
            tool = context.compiled.get(follow.trace_id)
            mode = Mode.CRYSTALLIZED if tool else Mode.FOLLOWER
            reason = f"{describe(follow)}; compiled as {tool}" if tool else describe(follow)
            return self.decide(context, mode, reason, follow)
        plan = _known_plan(context, self.threshold(context))
        if plan is not None:
            reason = f"its plan is known: {describe(plan)}"
            return self.decide(context, Mode.ORCHESTRATOR, reason, plan)
        helper, pieces = self._helper(context), self._pieces(context)
        likely = helper is not None and helper.confidence >= context.config.mixed_threshold
        if pieces and not likely:
            return self.decide(context, Mode.ORCHESTRATOR, why_split(context, pieces))
        if helper is not None:
            reason = why_not(context, helper, self.threshold(context))
            return self.decide(context, Mode.MIXED, reason, helper)
        return self.decide(context, Mode.LEARNER, why_learn(context, self.complex_from(context)))

    def _pieces(self, context: ModeContext) -> int:
        """How many pieces of work a goal has that is to be split; 0: it is not."""
        if not context.may_plan or context.options.agent is not None:
            return 0  # who names an agent wants that one to do it
        pieces = complexity(context.goal)
        return pieces if pieces >= self.complex_from(context) else 0

    def _helper(self, context: ModeContext) -> MatchCandidate | None:
        """The candidate that helps most: a likely repeat before one that is only related."""
        mixed = context.config.mixed_threshold + context.policy.mixed_threshold_adjustment
        related = self.related_enough(context)
        useful = [
            candidate
            for candidate in _not_vetoed(context)
            if candidate.helps
            and candidate.trace_id not in context.plans
            and (candidate.confidence >= mixed or candidate.relatedness >= related)
        ]
        return max(useful, key=lambda c: (c.confidence, c.relatedness), default=None)


class CostOptimizedStrategy(AutoModeStrategy):
    """Let weaker relatives help before paying for a full run."""

    name = "cost-optimized"
    extra_complexity = 2

    def related_enough(self, context: ModeContext) -> float:
        """0.50, or less where so configured."""
        return min(0.50, context.config.relatedness_threshold)


class SpeedOptimizedStrategy(AutoModeStrategy):
    """Avoid plans of several agents; the runner takes the quickest model that fits."""

    name = "speed-optimized"
    extra_complexity = 3


class ForcedLearnerStrategy(ModeSelectionStrategy):
    """Never reuse anything."""

    name = "forced-learner"

    def choose(self, context: ModeContext) -> ModeDecision:
        """LEARNER."""
        return self.decide(context, Mode.LEARNER, "the strategy is forced-learner")


class ForcedFollowerStrategy(ModeSelectionStrategy):
    """Replay or refuse: never a silent model run."""

    name = "forced-follower"

    def choose(self, context: ModeContext) -> ModeDecision:
        """FOLLOWER. Raises NoTrace."""
        return _follow_or_refuse(self, context, "the strategy is forced-follower")


class SentienceAwareStrategy(AutoModeStrategy):
    """Auto, then what the internal state demands: more care, fewer dollars, never less care."""

    name = "sentience-aware"

    def choose(self, context: ModeContext) -> ModeDecision:
        """Auto's decision as the policy wants it."""
        return CognitiveKernel().modulate_mode_decision(super().choose(context), context.policy)

    def complex_from(self, context: ModeContext) -> int:
        """Raised by a tired or cautious state."""
        return super().complex_from(context) + context.policy.complexity_threshold_adjustment


STRATEGIES: dict[str, type[ModeSelectionStrategy]] = {
    strategy.name: strategy
    for strategy in (
        AutoModeStrategy,
        CostOptimizedStrategy,
        SpeedOptimizedStrategy,
        ForcedLearnerStrategy,
        ForcedFollowerStrategy,
        SentienceAwareStrategy,
    )
}


def get_strategy(name: str) -> ModeSelectionStrategy:
    """The strategy of that name. Raises ConfigError naming the known ones."""
    if name not in STRATEGIES:
        raise ConfigError(
            f"dispatcher.strategy {name!r} is not known.",
            fix=f"Use one of: {', '.join(STRATEGIES)}.",
        )
    return STRATEGIES[name]()


def strategy_for(config: LLMOSConfig) -> ModeSelectionStrategy:
    """The configured strategy; "auto" listens to the internal state when there is one."""
    name = config.dispatcher.strategy
    if name == AutoModeStrategy.name and config.sentience.enable_sentience:
        name = SentienceAwareStrategy.name
    return get_strategy(name)


def _asked(strategy: ModeSelectionStrategy, context: ModeContext) -> ModeDecision:
    """What the submitter asked for by name."""
    asked = context.options.mode
    if asked is RequestedMode.FOLLOWER:
        return _follow_or_refuse(strategy, context, "FOLLOWER was asked for")
    if asked is RequestedMode.MIXED:
        helpful = (c for c in _not_vetoed(context) if c.trace_id not in context.plans)
        best = next(helpful, None)
        if best is None:
            reason = "MIXED was asked for, but no trace is known that could help"
            return strategy.decide(context, Mode.LEARNER, reason)
        reason = f"MIXED was asked for; {likeness(best)}"
        return strategy.decide(context, Mode.MIXED, reason, best)
    if asked is RequestedMode.LEARNER:
        return strategy.decide(context, Mode.LEARNER, "LEARNER was asked for")
    if asked is RequestedMode.CRYSTALLIZED:
        return _compiled_or_refuse(strategy, context)
    return _planned(strategy, context)


def _planned(strategy: ModeSelectionStrategy, context: ModeContext) -> ModeDecision:
    """A goal that is to be split, by the plan that is known if there is one."""
    if not context.may_plan:
        raise PolicyDenied(
            "ORCHESTRATOR was asked for, and this goal may not be split: plans are switched off "
            "(orchestration.enabled), or it is too deep in another plan (orchestration.max_depth).",
            fix="Ask for auto, or submit the parts as goals of their own.",
        )
    plan = _known_plan(context, strategy.threshold(context))
    if plan is not None:
        reason = f"ORCHESTRATOR was asked for; its plan is known: {describe(plan)}"
        return strategy.decide(context, Mode.ORCHESTRATOR, reason, plan)
    return strategy.decide(context, Mode.ORCHESTRATOR, "ORCHESTRATOR was asked for")


def _follow_or_refuse(
    strategy: ModeSelectionStrategy, context: ModeContext, why: str
) -> ModeDecision:
    threshold = strategy.threshold(context)
    follow = _to_follow(context, threshold)
    if follow is not None:
        return strategy.decide(context, Mode.FOLLOWER, f"{describe(follow)} ({why})", follow)
    best = context.match.best
    found = why_not(context, best, threshold) if best else nothing_known(context)
    raise NoTrace(
        f"{why}, and no trace may be followed: {found}.",
        fix="Ask for auto or learner, so that a model may do it.",
    )


def _compiled_or_refuse(strategy: ModeSelectionStrategy, context: ModeContext) -> ModeDecision:
    why = "CRYSTALLIZED was asked for"
    decision = _follow_or_refuse(strategy, context, why)
    follow = _to_follow(context, strategy.threshold(context))
    if follow is None or follow.trace_id not in context.compiled:
        raise NoTrace(
            f"{why}, and the trace {decision.trace_id} has not been compiled into a tool.",
            fix="Ask for auto: a proved trace is replayed without a model too.",
        )
    return strategy.decide(context, Mode.CRYSTALLIZED, f"{describe(follow)} ({why})", follow)


def _tool(context: ModeContext, mode: Mode, candidate: MatchCandidate | None) -> str | None:
    if mode is not Mode.CRYSTALLIZED or candidate is None:
        return None
    return context.compiled.get(candidate.trace_id)


def _to_follow(context: ModeContext, threshold: float) -> MatchCandidate | None:
    """The trace to replay. A plan is none: its parts may need a model."""
    return next((c for c in _sure(context, threshold) if c.trace_id not in context.plans), None)


def _known_plan(context: ModeContext, threshold: float) -> MatchCandidate | None:
    """The trace whose plan does the goal."""
    if not context.may_plan:
        return None
    return next((c for c in _sure(context, threshold) if c.trace_id in context.plans), None)


def _sure(context: ModeContext, threshold: float) -> list[MatchCandidate]:
    """Candidates that may be followed: sure enough, with nothing against them."""
    sure = [c for c in context.match.candidates if context.sure(c, threshold)]
    return [c for c in sure if not context.blockers_of(c)]


def _not_vetoed(context: ModeContext) -> list[MatchCandidate]:
    """Candidates that may help. A veto takes all confidence away: it would mislead as help too."""
    return [c for c in context.match.candidates if c.confidence > 0 or not c.blockers]
