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
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel

DEFAULT_ESTIMATES: Mapping[Mode, int] = {Mode.LEARNER: 500_000, Mode.MIXED: 250_000}
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
        """CRYSTALLIZED, FOLLOWER, MIXED or LEARNER, in that order."""
        follow = _to_follow(context, self.threshold(context))
        if follow is not None:
            tool = context.compiled.get(follow.trace_id)
            mode = Mode.CRYSTALLIZED if tool else Mode.FOLLOWER
            reason = f"{describe(follow)}; compiled as {tool}" if tool else describe(follow)
            return self.decide(context, mode, reason, follow)
        helper = self._helper(context)
        if helper is not None:
            reason = _why_not(context, helper, self.threshold(context))
            return self.decide(context, Mode.MIXED, reason, helper)
        return self.decide(context, Mode.LEARNER, _why_learn(self, context))

    def _helper(self, context: ModeContext) -> MatchCandidate | None:
        """The candidate that helps most: a likely repeat before one that is only related."""
        mixed = context.config.mixed_threshold + context.policy.mixed_threshold_adjustment
        related = self.related_enough(context)
        useful = [
            candidate
            for candidate in _not_vetoed(context)
            if candidate.helps
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


def describe(candidate: MatchCandidate) -> str:
    """Why a candidate fits, in words."""
    goal = repr(one_line(candidate.goal_text, 80))
    if candidate.stage == "exact":
        return f"exact repeat of {goal}"
    if candidate.stage == "alias":
        return f"known wording of {goal}"
    confidence = f"{candidate.confidence:.2f}"
    if candidate.stage == "template":
        values = candidate.agreed[-1] if candidate.agreed else "other values"
        return f"{confidence}: {goal} with {values}"
    return f"{confidence}: means the same as {goal}"


def _asked(strategy: ModeSelectionStrategy, context: ModeContext) -> ModeDecision:
    """What the submitter asked for by name."""
    asked = context.options.mode
    if asked is RequestedMode.FOLLOWER:
        return _follow_or_refuse(strategy, context, "FOLLOWER was asked for")
    if asked is RequestedMode.MIXED:
        best = next(iter(_not_vetoed(context)), None)
        if best is None:
            reason = "MIXED was asked for, but no trace is known that could help"
            return strategy.decide(context, Mode.LEARNER, reason)
        reason = f"MIXED was asked for; {_likeness(best)}"
        return strategy.decide(context, Mode.MIXED, reason, best)
    if asked is RequestedMode.LEARNER:
        return strategy.decide(context, Mode.LEARNER, "LEARNER was asked for")
    if asked is RequestedMode.CRYSTALLIZED:
        return _compiled_or_refuse(strategy, context)
    raise PolicyDenied(
        "ORCHESTRATOR was asked for, and this version cannot split a goal into sub-goals yet.",
        fix="Ask for auto, or submit the parts as goals of their own.",
    )


def _follow_or_refuse(
    strategy: ModeSelectionStrategy, context: ModeContext, why: str
) -> ModeDecision:
    threshold = strategy.threshold(context)
    follow = _to_follow(context, threshold)
    if follow is not None:
        return strategy.decide(context, Mode.FOLLOWER, f"{describe(follow)} ({why})", follow)
    best = context.match.best
    found = _why_not(context, best, threshold) if best else _nothing_known(context)
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
    sure = [c for c in context.match.candidates if context.sure(c, threshold)]
    return next((c for c in sure if not context.blockers_of(c)), None)


def _not_vetoed(context: ModeContext) -> list[MatchCandidate]:
    """Candidates that may help. A veto takes all confidence away: it would mislead as help too."""
    return [c for c in context.match.candidates if c.confidence > 0 or not c.blockers]


def _why_not(context: ModeContext, candidate: MatchCandidate, threshold: float) -> str:
    """Why a candidate is not followed."""
    blockers = context.blockers_of(candidate)
    own = context.thresholds.get(candidate.trace_id)
    if candidate.confidence >= threshold and not context.sure(candidate, threshold) and own:
        return f"{_likeness(candidate)}, below {_above(own)}"
    if candidate.confidence >= threshold and blockers:
        return f"{describe(candidate)}, but {'; '.join(blockers)}"
    if candidate.confidence == 0 and blockers:
        return "; ".join(blockers)
    differed = f" ({'; '.join(candidate.differed[:3])})" if candidate.differed else ""
    return f"{_likeness(candidate)}{differed}, below {threshold:.2f}"


def _above(own: Threshold) -> str:
    """A trace's own threshold in words."""
    if own.value > 1:
        return f"anything this trace is followed for now: {own.why}"
    return f"the {own.value:.3g} that this trace needs: {own.why}"


def _likeness(candidate: MatchCandidate) -> str:
    goal = repr(one_line(candidate.goal_text, 80))
    return (
        f"like {goal}: confidence {candidate.confidence:.2f}, "
        f"relatedness {candidate.relatedness:.2f}"
    )


def _nothing_known(context: ModeContext) -> str:
    if context.index_down:
        return "no exact repeat is known, and the index cannot be asked for others"
    best = context.match.best
    if best is None:
        return "nothing like it is known"
    if best.blockers and best.confidence == 0:
        known = describe(best) if best.stage in ("exact", "alias") else _likeness(best)
        return f"{known}, but {'; '.join(best.blockers)}"
    if not best.helps:
        return f"{_likeness(best)}, but another job: {'; '.join(best.differed[:4])}"
    return f"nothing close is known (relatedness {context.match.relatedness:.2f} at most)"


def _why_learn(strategy: ModeSelectionStrategy, context: ModeContext) -> str:
    reason = _nothing_known(context)
    pieces = complexity(context.goal)
    if pieces >= strategy.complex_from(context):
        reason += (
            f"; it asks for {pieces} pieces of work, and one learner does them all: "
            "splitting goals is not there yet"
        )
    return reason
