"""Internal state and policy: the words of the sentience room that others read."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Contract


class LatentMode(StrEnum):
    """The behavioural mode that follows from the valence vector."""

    RECOVERY = "recovery"
    CAUTIOUS = "cautious"
    AUTO_CREATIVE = "auto_creative"
    AUTO_CONTAINED = "auto_contained"
    BALANCED = "balanced"


class TriggerType(StrEnum):
    """Events that move the valence vector."""

    TASK_SUCCESS = "task_success"
    TASK_FAILURE = "task_failure"
    TASK_REPETITION = "task_repetition"
    NOVEL_TASK = "novel_task"
    SAFETY_VIOLATION = "safety_violation"
    SAFETY_NEAR_MISS = "safety_near_miss"
    HIGH_COST = "high_cost"
    USER_FEEDBACK_POSITIVE = "user_feedback_positive"
    USER_FEEDBACK_NEGATIVE = "user_feedback_negative"
    TOOL_DISCOVERY = "tool_discovery"
    SELF_MODIFICATION_OK = "self_modification_ok"
    SELF_MODIFICATION_FAILED = "self_modification_failed"
    TIMEOUT = "timeout"
    EXTERNAL_INTERRUPTION = "external_interruption"


class ValenceVector(Contract):
    """Four values in [-1, 1]."""

    safety: float = Field(default=0.5, ge=-1, le=1)
    curiosity: float = Field(default=0.0, ge=-1, le=1)
    energy: float = Field(default=0.8, ge=-1, le=1)
    self_confidence: float = Field(default=0.3, ge=-1, le=1)


class SentienceState(Contract):
    """A project's internal state at one moment."""

    valence: ValenceVector = Field(default_factory=ValenceVector)
    latent_mode: LatentMode = LatentMode.BALANCED
    last_trigger: str = ""
    last_trigger_reason: str = ""
    update_count: int = Field(default=0, ge=0)
    last_updated: str = ""
    homeostatic_cost: float = 0.0


class CognitivePolicy(Contract):
    """What the internal state demands of dispatch, gate and prompts."""

    prefer_cheap_modes: bool = False
    prefer_safe_modes: bool = False
    allow_exploration: bool = True
    allow_self_modification: bool = True
    follower_threshold_adjustment: float = Field(default=0.0, ge=0)
    """Added to the follower threshold; never negative: state makes replay more careful only."""
    mixed_threshold_adjustment: float = 0.0
    complexity_threshold_adjustment: int = 0
    require_confirmation_for_writes: bool = False
    require_confirmation_for_shell: bool = False
    block_destructive_operations: bool = False
    dry_run_preferred: bool = False
    exploration_budget_multiplier: float = Field(default=1.0, ge=0)
    max_simultaneous_experiments: int = 1
    enable_auto_improvement: bool = True
    boredom_threshold: float = -0.4
    improvement_cooldown_secs: int = 300
    inject_internal_state: bool = True
    inject_behavioral_guidance: bool = True
    inject_similar_experiences: bool = True
