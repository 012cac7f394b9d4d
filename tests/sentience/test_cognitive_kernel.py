"""Policies, overrides, decisions, prompts and suggestions follow from state alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import (
    CognitivePolicy,
    LatentMode,
    SentienceState,
    ValenceVector,
)
from llmos_workers.sentience import valence as model
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel
from llmos_workers.sentience.guidance import notes
from llmos_workers.sentience.improvement import (
    AgentFacts,
    ImprovementFacts,
    PatternFacts,
    SelfImprovementType,
)

KERNEL = CognitiveKernel(SentienceConfig())
values = st.floats(-1, 1)


def feeling(**fields: float) -> SentienceState:
    valence = model.setpoints(SentienceConfig()).model_copy(update=fields)
    return SentienceState(valence=valence, latent_mode=model.latent_mode(valence))


STATES = {
    LatentMode.RECOVERY: feeling(energy=-0.6),
    LatentMode.CAUTIOUS: feeling(safety=-0.1),
    LatentMode.AUTO_CONTAINED: feeling(curiosity=-0.35),
    LatentMode.AUTO_CREATIVE: feeling(curiosity=0.4),
    LatentMode.BALANCED: feeling(),
}


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        (
            "recovery",
            {
                "prefer_cheap_modes": True,
                "prefer_safe_modes": True,
                "allow_exploration": False,
                "allow_self_modification": False,
                "exploration_budget_multiplier": 0.2,
                "enable_auto_improvement": False,
                "complexity_threshold_adjustment": 2,
            },
        ),
        (
            "cautious",
            {
                "prefer_safe_modes": True,
                "require_confirmation_for_writes": True,
                "require_confirmation_for_shell": True,
                "dry_run_preferred": True,
                "exploration_budget_multiplier": 0.5,
                "complexity_threshold_adjustment": 1,
            },
        ),
        (
            "auto_contained",
            {
                "prefer_cheap_modes": True,
                "allow_exploration": False,
                "exploration_budget_multiplier": 0.3,
            },
        ),
        (
            "auto_creative",
            {
                "exploration_budget_multiplier": 1.5,
                "max_simultaneous_experiments": 2,
                "follower_threshold_adjustment": 0.05,
            },
        ),
        ("balanced", {}),
    ],
)
def test_each_latent_mode_changes_just_its_fields(mode: str, changes: dict[str, object]) -> None:
    assert STATES[LatentMode(mode)].latent_mode == mode
    assert KERNEL.derive_policy(STATES[LatentMode(mode)]) == CognitivePolicy(**changes)


@pytest.mark.parametrize(
    ("safety", "block", "confirm", "dry"),
    [
        (0.3, False, False, False),
        (0.29, False, False, True),
        (0.0, False, False, True),
        (-0.01, False, True, True),
        (-0.5, False, True, True),
        (-0.51, True, True, True),
    ],
)
def test_low_safety_restricts_whatever_the_latent_mode(
    safety: float, block: bool, confirm: bool, dry: bool
) -> None:
    for mode in LatentMode:
        state = feeling(safety=safety).model_copy(update={"latent_mode": mode})
        policy = KERNEL.derive_policy(state)
        cautious = mode is LatentMode.CAUTIOUS
        assert policy.block_destructive_operations is block
        assert policy.require_confirmation_for_shell is (confirm or cautious)
        assert policy.require_confirmation_for_writes is (confirm or cautious)
        assert policy.dry_run_preferred is (dry or cautious)


@given(values, values, values, values)
def test_no_state_makes_replay_less_careful(a: float, b: float, c: float, d: float) -> None:
    valence = ValenceVector(safety=a, curiosity=b, energy=c, self_confidence=d)
    state = SentienceState(valence=valence, latent_mode=model.latent_mode(valence))
    policy = KERNEL.derive_policy(state)
    assert policy.follower_threshold_adjustment >= 0
    for mode in Mode:
        match = MatchResult(
            candidates=(MatchCandidate(trace_id="t", goal_text="g", stage="s", confidence=0.9),),
            relatedness=0.9,
        )
        before = ModeDecision(mode=mode, reason="r", confidence=0.95, trace_id="t", match=match)
        after = KERNEL.modulate_mode_decision(before, policy)
        assert after.mode is mode or after.mode is Mode.MIXED
        if not after.mode.calls_model:
            assert before.mode is after.mode


def decision(mode: Mode, **fields: object) -> ModeDecision:
    return ModeDecision(mode=mode, reason="because", **fields)  # type: ignore[arg-type]


def test_a_raised_threshold_turns_a_replay_into_mixed() -> None:
    creative = KERNEL.derive_policy(STATES[LatentMode.AUTO_CREATIVE])
    follow = decision(Mode.FOLLOWER, confidence=0.95, trace_id="t")
    got = KERNEL.modulate_mode_decision(follow, creative)
    assert (got.mode, got.trace_id, got.estimated_micro) == (Mode.MIXED, "t", 250_000)
    assert "0.95 is below 0.97" in got.reason
    assert KERNEL.modulate_mode_decision(follow, CognitivePolicy()) is follow
    sure = decision(Mode.FOLLOWER, confidence=1.0, threshold=0.99)
    assert KERNEL.modulate_mode_decision(sure, creative) is sure, "an exact repeat stays"


def test_recovery_prefers_mixed_to_learner_where_a_trace_can_help() -> None:
    recovery = KERNEL.derive_policy(STATES[LatentMode.RECOVERY])
    candidate = MatchCandidate(trace_id="t", goal_text="g", stage="vector", confidence=0.2)
    related = MatchResult(candidates=(candidate,), relatedness=0.55)
    learn = decision(Mode.LEARNER, match=related, estimated_micro=500_000)
    got = KERNEL.modulate_mode_decision(learn, recovery)
    assert (got.mode, got.trace_id, got.estimated_micro) == (Mode.MIXED, "t", 250_000)
    for match in (MatchResult(), related.model_copy(update={"relatedness": 0.4})):
        alone = decision(Mode.LEARNER, match=match)
        assert KERNEL.modulate_mode_decision(alone, recovery) is alone
    assert KERNEL.modulate_mode_decision(learn, CognitivePolicy()) is learn


def test_switched_off_the_policy_is_plain_and_injects_nothing() -> None:
    kernel = CognitiveKernel(SentienceConfig(enable_sentience=False))
    policy = kernel.derive_policy(feeling(safety=-0.9, energy=-0.9))
    assert not policy.block_destructive_operations
    assert not policy.prefer_cheap_modes
    assert kernel.enrich_context(feeling(), policy) == ""


def test_settings_reach_the_policy() -> None:
    kernel = CognitiveKernel(
        SentienceConfig(
            boredom_threshold=-0.2, improvement_cooldown_secs=5, enable_auto_improvement=False
        )
    )
    policy = kernel.derive_policy(feeling())
    assert (policy.boredom_threshold, policy.improvement_cooldown_secs) == (-0.2, 5)
    assert not policy.enable_auto_improvement


def test_the_block_has_two_decimals_and_four_for_the_cost() -> None:
    state = SentienceState(
        valence=ValenceVector(safety=0.5, curiosity=-0.4, energy=-0.001, self_confidence=1 / 3),
        latent_mode=LatentMode.AUTO_CONTAINED,
        homeostatic_cost=0.08,
        last_trigger="task_repetition",
    )
    policy = CognitivePolicy(inject_behavioral_guidance=False)
    assert KERNEL.enrich_context(state, policy) == (
        "[INTERNAL_STATE]\nsafety=0.50\ncuriosity=-0.40\nenergy=0.00\nself_confidence=0.33\n"
        "latent_mode=auto_contained\nhomeostatic_cost=0.0800\nlast_trigger=task_repetition\n"
        "[/INTERNAL_STATE]"
    )
    assert "last_trigger=none" in KERNEL.enrich_context(feeling(), policy)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"curiosity": -0.41}, "Low curiosity"),
        ({"curiosity": 0.51}, "High curiosity"),
        ({"safety": -0.01}, "Low safety"),
        ({"self_confidence": -0.21}, "Low self-confidence"),
        ({"self_confidence": 0.51}, "High self-confidence"),
    ],
)
def test_a_value_that_stands_out_gets_its_line(fields: dict[str, float], words: str) -> None:
    assert len(notes(feeling(**fields))) == 1
    text = KERNEL.enrich_context(feeling(**fields), CognitivePolicy(inject_internal_state=False))
    assert words in text
    assert "[INTERNAL_STATE]" not in text


@pytest.mark.parametrize(
    "fields",
    [{"curiosity": -0.4}, {"curiosity": 0.5}, {"safety": 0.0}, {"self_confidence": -0.2}],
)
def test_at_the_edge_there_is_no_line(fields: dict[str, float]) -> None:
    assert notes(feeling(**fields)) == []


FACTS = ImprovementFacts(
    patterns=(
        PatternFacts(trace_id="a", goal_text="a", usage_count=5, success_rate=0.95),
        PatternFacts(trace_id="b", goal_text="b", usage_count=4),
        PatternFacts(trace_id="c", goal_text="c", usage_count=50, success_rate=0.94),
        PatternFacts(trace_id="d", goal_text="d", usage_count=50, crystallized=True),
        PatternFacts(trace_id="e", goal_text="e", recent_costs_usd=(0.0, 0.3, 0.3, 0.3, 0.3, 0.4)),
        PatternFacts(trace_id="f", goal_text="f", recent_costs_usd=(0.3,) * 5),
        PatternFacts(trace_id="g", goal_text="g", recent_costs_usd=(9.0,) * 4),
    ),
    agents=(
        AgentFacts(name="weak", runs=10, successes=6),
        AgentFacts(name="strong", runs=10, successes=7),
        AgentFacts(name="new", runs=4),
    ),
    unserved_topics={"sql": 3, "music": 2},
    repeated_commands={"pandoc FILE": 10, "ls": 9},
    unused_traces=20,
    untraced={"k": "3 goals"},
)


def test_suggestions_follow_from_counted_facts_by_priority() -> None:
    found = KERNEL.detect_improvement_opportunities(feeling(curiosity=-0.41), FACTS)
    assert [(s.type.value, s.priority, s.subject) for s in found] == [
        ("crystallize_pattern", 0.8, "a"),
        ("audit_architecture", 0.7, ""),
        ("optimize_existing_tool", 0.6, "e"),
        ("refactor_agent", 0.5, "weak"),
        ("create_new_agent", 0.4, "sql"),
        ("record_pattern", 0.35, "k"),
        ("create_new_tool", 0.3, "pandoc FILE"),
        ("cleanup_traces", 0.2, ""),
    ]
    assert {s.type for s in found} == set(SelfImprovementType)


def test_a_content_system_without_facts_suggests_nothing() -> None:
    assert KERNEL.detect_improvement_opportunities(feeling()) == ()


def test_recovery_and_the_cooldown_silence_suggestions() -> None:
    assert KERNEL.detect_improvement_opportunities(feeling(energy=-0.6), FACTS) == ()
    early = FACTS.model_copy(update={"secs_since_last": 299.0})
    late = FACTS.model_copy(update={"secs_since_last": 300.0})
    assert KERNEL.detect_improvement_opportunities(feeling(), early) == ()
    assert KERNEL.detect_improvement_opportunities(feeling(), late)
