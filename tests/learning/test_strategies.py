"""Mode decisions: the floor that nothing goes under, and reasons in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.config import DispatcherConfig, LLMOSConfig
from llmos_workers.contracts.decision import MatchCandidate, MatchResult
from llmos_workers.contracts.errors import ConfigError, NoTrace, PolicyDenied
from llmos_workers.contracts.goal import GoalOptions
from llmos_workers.contracts.modes import Mode, RequestedMode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.learning.complexity import complexity
from llmos_workers.learning.strategies import (
    FLOOR,
    STRATEGIES,
    ModeContext,
    get_strategy,
    strategy_for,
)

CHANGED = "the input sales.csv changed since 2026-11-20T10:00:00Z"


def candidate(confidence: float, relatedness: float = 0.9, **changes: Any) -> MatchCandidate:
    fields = {"trace_id": "t1", "goal_text": "Write hello.py", "stage": "structure"} | changes
    return MatchCandidate(confidence=confidence, relatedness=relatedness, **fields)


def context(*candidates: MatchCandidate, mode: str = "AUTO", **changes: Any) -> ModeContext:
    related = max((c.relatedness for c in candidates), default=0.0)
    fields: dict[str, Any] = {
        "goal": "Write hello.py",
        "options": GoalOptions(mode=RequestedMode(mode)),
        "match": MatchResult(candidates=candidates, relatedness=related),
    }
    return ModeContext(**(fields | changes))


def decide(name: str, ctx: ModeContext) -> tuple[Mode, str]:
    decision = get_strategy(name).determine_mode(ctx)
    assert decision.strategy == name
    return decision.mode, decision.reason


def test_an_exact_repeat_is_followed_for_nothing() -> None:
    found = candidate(1.0, stage="exact", slots={"file": "hello.py"})
    decision = get_strategy("auto").determine_mode(context(found, versions={"t1": 3}))
    assert decision.mode is Mode.FOLLOWER
    assert decision.reason == "exact repeat of 'Write hello.py'"
    assert (decision.trace_id, decision.trace_version) == ("t1", 3)
    assert decision.slots == {"file": "hello.py"}
    assert (decision.estimated_micro, decision.confidence, decision.threshold) == (0, 1.0, 0.92)


@pytest.mark.parametrize(
    ("confidence", "relatedness", "mode"),
    [
        (0.92, 0.3, Mode.FOLLOWER),
        (0.9199, 0.3, Mode.MIXED),
        (0.75, 0.3, Mode.MIXED),
        (0.7499, 0.599, Mode.LEARNER),
        (0.1, 0.60, Mode.MIXED),
        (0.0, 0.0, Mode.LEARNER),
    ],
)
def test_the_thresholds_of_auto(confidence: float, relatedness: float, mode: Mode) -> None:
    assert decide("auto", context(candidate(confidence, relatedness)))[0] is mode


def test_reasons_are_words() -> None:
    template = candidate(0.97, stage="template", agreed=("verb", "name = 'Bob' instead of 'Al'"))
    assert decide("auto", context(template)) == (
        Mode.FOLLOWER,
        "0.97: 'Write hello.py' with name = 'Bob' instead of 'Al'",
    )
    assert decide("auto", context(candidate(0.95)))[1] == "0.95: means the same as 'Write hello.py'"
    close = candidate(0.8, differed=("language: Python / Rust",))
    assert decide("auto", context(close)) == (
        Mode.MIXED,
        "like 'Write hello.py': confidence 0.80, relatedness 0.90 (language: Python / Rust), "
        "below 0.92",
    )
    assert decide("auto", context()) == (Mode.LEARNER, "nothing like it is known")
    assert "index cannot be asked" in decide("auto", context(index_down=True))[1]


def test_a_blocked_trace_helps_but_is_not_followed() -> None:
    ctx = context(candidate(1.0, stage="exact"), blockers={"t1": (CHANGED,)})
    assert decide("auto", ctx) == (
        Mode.MIXED,
        f"exact repeat of 'Write hello.py', but {CHANGED}",
    )


def test_the_next_sure_trace_is_followed_when_the_first_is_blocked() -> None:
    first, second = candidate(0.99), candidate(0.95, trace_id="t2")
    ctx = context(first, second, blockers={"t1": (CHANGED,)})
    assert get_strategy("auto").determine_mode(ctx).trace_id == "t2"


def test_a_vetoed_trace_does_not_even_help() -> None:
    vetoed = candidate(0.0, 0.99, blockers=("a user said no",))
    assert decide("auto", context(vetoed))[0] is Mode.LEARNER
    assert decide("auto", context(vetoed, mode="MIXED"))[0] is Mode.LEARNER


def test_cost_optimized_lets_weaker_relatives_help() -> None:
    ctx = context(candidate(0.1, 0.55))
    assert decide("auto", ctx)[0] is Mode.LEARNER
    assert decide("cost-optimized", ctx)[0] is Mode.MIXED
    assert decide("speed-optimized", ctx)[0] is Mode.LEARNER


def test_forced_learner_reuses_nothing() -> None:
    assert decide("forced-learner", context(candidate(1.0, stage="exact")))[0] is Mode.LEARNER


def test_forced_follower_replays_or_refuses_and_never_runs_a_model() -> None:
    assert decide("forced-follower", context(candidate(1.0)))[0] is Mode.FOLLOWER
    for ctx in (
        context(),
        context(candidate(0.91)),
        context(candidate(1.0), blockers={"t1": (CHANGED,)}),
    ):
        with pytest.raises(NoTrace) as caught:
            get_strategy("forced-follower").determine_mode(ctx)
        assert caught.value.fix
    assert CHANGED in caught.value.message


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_an_asked_mode_goes_before_the_strategy(name: str) -> None:
    sure = candidate(1.0, stage="exact")
    assert decide(name, context(sure, mode="LEARNER"))[0] is Mode.LEARNER
    assert decide(name, context(sure, mode="FOLLOWER"))[0] is Mode.FOLLOWER
    assert decide(name, context(sure, mode="MIXED"))[0] is Mode.MIXED
    assert decide(name, context(mode="MIXED"))[0] is Mode.LEARNER
    with pytest.raises(NoTrace, match="FOLLOWER was asked for"):
        decide(name, context(candidate(0.9), mode="FOLLOWER"))
    with pytest.raises(PolicyDenied, match="may not be split"):
        decide(name, context(sure, mode="ORCHESTRATOR"))
    with pytest.raises(NoTrace, match="CRYSTALLIZED"):
        decide(name, context(sure, mode="CRYSTALLIZED"))


def test_where_no_model_may_be_called_learning_is_refused_and_replay_is_not() -> None:
    config = DispatcherConfig(llm_allowed=False)
    assert decide("auto", context(candidate(1.0), config=config))[0] is Mode.FOLLOWER
    for ctx in (
        context(config=config),
        context(candidate(0.8), config=config),
        context(mode="LEARNER", config=config),
    ):
        with pytest.raises(PolicyDenied, match="forbids model calls"):
            get_strategy("auto").determine_mode(ctx)


def test_state_makes_following_harder_never_easier() -> None:
    careful = CognitivePolicy(follower_threshold_adjustment=0.05)
    assert decide("sentience-aware", context(candidate(0.95), policy=careful))[0] is Mode.MIXED
    assert decide("sentience-aware", context(candidate(0.98), policy=careful))[0] is Mode.FOLLOWER
    assert decide("sentience-aware", context(candidate(1.0), policy=careful))[0] is Mode.FOLLOWER
    assert decide("auto", context(candidate(0.95), policy=careful))[0] is Mode.FOLLOWER


def test_a_tired_system_prefers_help_to_learning() -> None:
    tired = CognitivePolicy(prefer_cheap_modes=True)
    assert decide("sentience-aware", context(candidate(0.1, 0.55), policy=tired))[0] is Mode.MIXED
    assert decide("sentience-aware", context(candidate(0.1, 0.4), policy=tired))[0] is Mode.LEARNER


policies = st.builds(
    CognitivePolicy,
    prefer_cheap_modes=st.booleans(),
    follower_threshold_adjustment=st.floats(0, 0.2),
    mixed_threshold_adjustment=st.floats(-0.5, 0.5),
    complexity_threshold_adjustment=st.integers(-3, 3),
)


@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    asked=st.sampled_from(["AUTO", "FOLLOWER", "MIXED", "LEARNER"]),
    confidences=st.lists(st.floats(0, 1), max_size=3),
    threshold=st.floats(0.92, 1),
    policy=policies,
    blocked=st.booleans(),
)
def test_no_strategy_replays_below_the_floor(  # noqa: PLR0917 - hypothesis fills them
    name: str,
    asked: str,
    confidences: list[float],
    threshold: float,
    policy: CognitivePolicy,
    blocked: bool,
) -> None:
    found = [candidate(c, trace_id=f"t{n}") for n, c in enumerate(sorted(confidences)[::-1])]
    ctx = context(
        *found,
        mode=asked,
        policy=policy,
        config=DispatcherConfig(follower_threshold=threshold),
        blockers={c.trace_id: ("no",) for c in found} if blocked else {},
    )
    try:
        decision = get_strategy(name).determine_mode(ctx)
    except NoTrace:
        return
    if decision.mode is Mode.FOLLOWER:
        assert decision.confidence >= max(FLOOR, threshold)
        assert not blocked
        assert decision.trace_id is not None
    assert decision.reason
    assert (decision.estimated_micro > 0) == decision.mode.calls_model


def test_a_configuration_that_got_around_its_own_check_is_still_held_to_the_floor() -> None:
    loose = DispatcherConfig().model_copy(update={"follower_threshold": 0.5})
    for name in STRATEGIES:
        ctx = context(candidate(0.9), config=loose)
        try:
            assert decide(name, ctx)[0] is not Mode.FOLLOWER
        except NoTrace:
            assert name == "forced-follower"


def test_estimates_come_from_the_context_when_known() -> None:
    ctx = context(estimates={Mode.LEARNER: 7})
    assert get_strategy("auto").determine_mode(ctx).estimated_micro == 7
    assert get_strategy("auto").determine_mode(context()).estimated_micro == 500_000


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="cost-optimized"):
        get_strategy("cheapest")


def test_auto_listens_to_the_state_when_there_is_one() -> None:
    assert strategy_for(LLMOSConfig()).name == "sentience-aware"
    assert strategy_for(LLMOSConfig.testing()).name == "auto"


@pytest.mark.parametrize(
    ("goal", "pieces"),
    [
        ("Understand the research brand", 1),
        ("Research AI trends and create a technical report", 2),
        ("Create a Python calculator", 1),
        ("Write hello.py and run it", 1),
        ("Write a report and email it to Bob", 1),
        ("Summarize notes.txt and save the summary to summary.md", 1),
        ("Create a script that reads sales.csv and writes totals to totals.json", 1),
        ("First download the data, then clean it and finally plot the results", 3),
        ("Analyse the logs; fix the bug; write tests", 3),
        ("Build the API. Document the endpoints. Deploy it to staging.", 2),
        ('Write "research this and create that" to note.txt', 1),
        ("Please:\n1. design a logo\n2. write a slogan\n3. plan the launch", 4),
        ("Compare red and blue", 1),
        ("", 1),
    ],
)
def test_complexity_counts_pieces_of_work(goal: str, pieces: int) -> None:
    assert complexity(goal) == pieces


def test_a_goal_of_several_pieces_is_learned_and_says_so() -> None:
    ctx = context(goal="Research AI trends and create a technical report")
    mode, reason = decide("auto", ctx)
    assert mode is Mode.LEARNER
    assert "2 pieces of work" in reason
    assert "pieces" not in decide("cost-optimized", ctx)[1]


@given(
    confidence=st.floats(0.75, 1.0),
    pieces=st.integers(1, 6),
    blocked=st.booleans(),
    stage=st.sampled_from(["exact", "alias", "template", "structure", "judged"]),
)
def test_complexity_never_overrules_a_known_trace(confidence, pieces, blocked, stage) -> None:
    """However many jobs a goal names: what did it is followed, or helps."""
    known = MatchCandidate(
        trace_id="t1", goal_text="the goal", stage=stage, confidence=confidence, relatedness=0.9
    )
    goal = "; ".join(f"write part{n}.md about topic {n}" for n in range(pieces))
    for name in STRATEGIES:
        if name.startswith("forced"):
            continue
        context = ModeContext(
            goal=goal,
            match=MatchResult(candidates=(known,), relatedness=0.9),
            blockers={"t1": ("its input changed",)} if blocked else {},
            may_plan=True,
        )
        mode = get_strategy(name).determine_mode(context).mode
        assert mode is not Mode.ORCHESTRATOR, name
        if confidence >= 0.95 and not blocked:
            assert mode is Mode.FOLLOWER
