"""From internal state to behaviour: policies, safety overrides, mode decisions, guidance. Pure.

State may make the system more careful about replaying, never less: no policy lowers the
follower threshold, and no high value undoes a rule of the gate.
"""

from __future__ import annotations

from typing import Any

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy, LatentMode, SentienceState
from llmos_workers.sentience.guidance import behavioral_guidance
from llmos_workers.sentience.improvement import (
    ImprovementFacts,
    SelfImprovementSuggestion,
    suggest,
)

BLOCK_DESTRUCTIVE_BELOW = -0.5
CONFIRM_BELOW = 0.0
DRY_RUN_BELOW = 0.3
"""Values of safety below which the gate restricts, whatever the latent mode."""

RELATED_ENOUGH = 0.50
"""Relatedness (cosine) from which a cheap system prefers MIXED to LEARNER."""

MIXED_ESTIMATE_MICRO = 250_000
"""What a MIXED run is expected to cost before anything better is known: $0.25."""

MODE_CHANGES: dict[LatentMode, dict[str, Any]] = {
    LatentMode.RECOVERY: {
        "prefer_cheap_modes": True,
        "prefer_safe_modes": True,
        "allow_exploration": False,
        "allow_self_modification": False,
        "exploration_budget_multiplier": 0.2,
        "enable_auto_improvement": False,
        "complexity_threshold_adjustment": 2,
    },
    LatentMode.CAUTIOUS: {
        "prefer_safe_modes": True,
        "require_confirmation_for_writes": True,
        "require_confirmation_for_shell": True,
        "dry_run_preferred": True,
        "exploration_budget_multiplier": 0.5,
        "complexity_threshold_adjustment": 1,
    },
    LatentMode.AUTO_CONTAINED: {
        "prefer_cheap_modes": True,
        "allow_exploration": False,
        "exploration_budget_multiplier": 0.3,
    },
    LatentMode.AUTO_CREATIVE: {
        "exploration_budget_multiplier": 1.5,
        "max_simultaneous_experiments": 2,
        "follower_threshold_adjustment": 0.05,
    },
    LatentMode.BALANCED: {},
}


class CognitiveKernel:
    """Rules from state to policy. Holds the settings and nothing else."""

    def __init__(self, config: SentienceConfig | None = None) -> None:
        self._config = config or SentienceConfig()

    def derive_policy(self, state: SentienceState) -> CognitivePolicy:
        """What the state demands: the settings, changed by the latent mode, restricted by safety.

        With sentience switched off: the default policy, injecting nothing.
        """
        config = self._config
        if not config.enable_sentience:
            return CognitivePolicy(
                inject_internal_state=False,
                inject_behavioral_guidance=False,
                enable_auto_improvement=False,
            )
        fields: dict[str, Any] = {
            "enable_auto_improvement": config.enable_auto_improvement,
            "boredom_threshold": config.boredom_threshold,
            "improvement_cooldown_secs": config.improvement_cooldown_secs,
            "inject_internal_state": config.inject_internal_state,
            "inject_behavioral_guidance": config.inject_behavioral_guidance,
        }
        fields |= MODE_CHANGES[state.latent_mode]
        for name, restricted in self.get_safety_overrides(state).items():
            fields[name] = bool(fields.get(name)) or restricted
        return CognitivePolicy(**fields)

    def get_safety_overrides(self, state: SentienceState) -> dict[str, bool]:
        """Restrictions that follow from the value of safety alone, by policy field."""
        safety = state.valence.safety if self._config.enable_sentience else 1.0
        return {
            "block_destructive_operations": safety < BLOCK_DESTRUCTIVE_BELOW,
            "require_confirmation_for_shell": safety < CONFIRM_BELOW,
            "require_confirmation_for_writes": safety < CONFIRM_BELOW,
            "dry_run_preferred": safety < DRY_RUN_BELOW,
        }

    def modulate_mode_decision(
        self, decision: ModeDecision, policy: CognitivePolicy
    ) -> ModeDecision:
        """The decision as the policy wants it; only for decisions nobody forced.

        A replay whose confidence does not reach the raised threshold becomes MIXED; a policy
        that prefers cheap modes turns LEARNER into MIXED where a related trace can help.
        """
        if decision.mode in (Mode.FOLLOWER, Mode.CRYSTALLIZED):
            raised = min(1.0, decision.threshold + policy.follower_threshold_adjustment)
            if decision.confidence < raised:
                why = f"confidence {decision.confidence:.2f} is below {raised:.2f}, raised by state"
                return _as_mixed(decision, decision.trace_id, why)
        elif decision.mode is Mode.LEARNER and policy.prefer_cheap_modes:
            best = decision.match.best
            if best is not None and decision.match.relatedness >= RELATED_ENOUGH:
                why = f"state asks to save; a trace is related ({decision.match.relatedness:.2f})"
                return _as_mixed(decision, best.trace_id, why)
        return decision

    def enrich_context(self, state: SentienceState, policy: CognitivePolicy) -> str:
        """Text for the changing part of a prompt: the state's block and guidance in words.

        Empty when the policy injects neither. Put it behind what is cached: it changes often.
        """
        parts = []
        if policy.inject_internal_state:
            parts.append(internal_state_block(state))
        if policy.inject_behavioral_guidance:
            parts.append(behavioral_guidance(state))
        return "\n\n".join(parts)

    def detect_improvement_opportunities(
        self, state: SentienceState, facts: ImprovementFacts | None = None
    ) -> tuple[SelfImprovementSuggestion, ...]:
        """What the system could do to get better, most urgent first.

        Nothing in a state that forbids it, nor within the cooldown after the last suggestion.
        """
        return suggest(state, self.derive_policy(state), facts or ImprovementFacts())


def internal_state_block(state: SentienceState) -> str:
    """The block that tells an agent its state: two decimals, homeostatic cost four."""
    values = state.valence
    lines = [
        "[INTERNAL_STATE]",
        # Adding 0.0 after rounding turns -0.0 into 0.0.
        *(
            f"{name}={round(getattr(values, name), 2) + 0.0:.2f}"
            for name in ("safety", "curiosity", "energy", "self_confidence")
        ),
        f"latent_mode={state.latent_mode.value}",
        f"homeostatic_cost={state.homeostatic_cost:.4f}",
        f"last_trigger={state.last_trigger or 'none'}",
        "[/INTERNAL_STATE]",
    ]
    return "\n".join(lines)


def _as_mixed(decision: ModeDecision, trace_id: str | None, why: str) -> ModeDecision:
    estimate = MIXED_ESTIMATE_MICRO
    if decision.mode is Mode.LEARNER and decision.estimated_micro:
        estimate = min(estimate, decision.estimated_micro)
    return decision.model_copy(
        update={
            "mode": Mode.MIXED,
            "trace_id": trace_id,
            "reason": "; ".join(filter(None, (decision.reason, f"MIXED because {why}"))),
            "estimated_micro": estimate,
        }
    )
