"""The arithmetic of internal state, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import LatentMode, TriggerType, ValenceVector
from llmos_workers.sentience import valence as model
from llmos_workers.sentience.valence import TriggerFacts

values = st.floats(-1, 1, allow_subnormal=False)
vectors = st.builds(
    ValenceVector, safety=values, curiosity=values, energy=values, self_confidence=values
)
TARGETS = model.setpoints(SentienceConfig())


def vector(**fields: float) -> ValenceVector:
    return TARGETS.model_copy(update=fields)


def step(value: ValenceVector, trigger: TriggerType, **facts: object) -> ValenceVector:
    told = TriggerFacts(**facts)  # type: ignore[arg-type]
    return model.add(value, model.deltas(trigger, told), model.floors(trigger))


@pytest.mark.parametrize(
    ("trigger", "facts", "expected"),
    [
        ("task_success", {}, (0.3, 0, -0.5, 1.5)),
        ("task_success", {"cost_usd": 0.0}, (0.3, 0, 0, 1.5)),
        ("task_success", {"mode": Mode.FOLLOWER}, (0.3, 0, 0, 1.5)),
        ("task_success", {"mode": Mode.LEARNER, "cost_usd": 0.2}, (0.3, 0, -0.5, 1.5)),
        ("task_failure", {"cost_usd": 0.0}, (-0.5, 0, -1, -2)),
        ("task_repetition", {"repeats": 1}, (0, -0.4, 0, 0.5)),
        ("task_repetition", {"repeats": 50}, (0, -2, 0, 0.5)),
        ("novel_task", {}, (0, 2, 0, -0.3)),
        ("safety_violation", {}, (-3, 0, -0.5, -1.5)),
        ("safety_near_miss", {}, (-1.5, 0, 0, -0.5)),
        ("high_cost", {"cost_usd": 0.5}, (0, 0, -1, -0.15)),
        ("high_cost", {"cost_usd": 9.0}, (0, 0, -4, -0.6)),
        ("user_feedback_positive", {}, (0.5, 0, 0.3, 2.5)),
        ("user_feedback_negative", {}, (-1, -0.5, 0, -2.5)),
        ("tool_discovery", {}, (0, 1.5, 0, 0.5)),
        ("self_modification_ok", {}, (0, 1, 0, 1)),
        ("self_modification_failed", {}, (-0.5, -0.5, 0, -1)),
        ("timeout", {}, (0, 0, -1.5, -0.5)),
        ("external_interruption", {}, (-0.5, 0.3, 0, 0)),
    ],
)
def test_each_trigger_moves_what_the_table_says(
    trigger: str, facts: dict[str, object], expected: tuple[float, ...]
) -> None:
    got = model.deltas(TriggerType(trigger), TriggerFacts(**facts))  # type: ignore[arg-type]
    wanted = dict(zip(model.FIELDS, expected, strict=True))
    assert got == pytest.approx({f: wanted[f] * model.SENSITIVITY[f] for f in model.FIELDS})


def test_every_trigger_has_a_row() -> None:
    assert set(model.DELTAS) == set(TriggerType)


@pytest.mark.parametrize("field", model.FIELDS)
def test_half_of_the_way_back_takes_the_half_life(field: str) -> None:
    target = getattr(TARGETS, field)
    after = model.decay(vector(**{field: target - 0.4}), TARGETS, model.HALF_LIFE_S[field])
    assert getattr(after, field) == pytest.approx(target - 0.2)


@given(vectors, st.floats(0, 1e7), st.floats(0, 1e7))
def test_decay_depends_on_the_time_alone_and_never_overshoots(
    start: ValenceVector, first: float, second: float
) -> None:
    twice = model.decay(model.decay(start, TARGETS, first), TARGETS, second)
    once = model.decay(start, TARGETS, first + second)
    for field in model.FIELDS:
        before, after, target = (getattr(v, field) for v in (start, once, TARGETS))
        assert getattr(twice, field) == pytest.approx(after, abs=1e-9)
        assert abs(after - target) <= abs(before - target) + 1e-12


def test_an_idle_system_returns_to_its_set_points() -> None:
    tired = ValenceVector(safety=-1, curiosity=1, energy=-1, self_confidence=-1)
    idle = model.decay(tired, TARGETS, 24 * 3600)
    assert model.homeostatic_cost(idle, TARGETS) < 1e-6
    assert model.latent_mode(idle) is LatentMode.BALANCED


def test_a_clock_that_went_backwards_changes_nothing() -> None:
    start = vector(safety=-0.7)
    assert model.decay(start, TARGETS, -3600) == start


@given(vectors, st.sampled_from(TriggerType), st.integers(0, 100), st.floats(0, 100))
def test_no_trigger_leaves_the_range(
    start: ValenceVector, trigger: TriggerType, repeats: int, cost: float
) -> None:
    after = step(start, trigger, repeats=repeats, cost_usd=cost)
    assert all(-1 <= getattr(after, field) <= 1 for field in model.FIELDS)


@pytest.mark.parametrize("facts", [{}, {"cost_usd": 0.0}, {"mode": Mode.FOLLOWER}])
def test_a_thousand_successes_in_a_row_do_not_end_in_recovery(facts: dict[str, object]) -> None:
    now = ValenceVector()
    for _ in range(1_000):
        now = step(now, TriggerType.TASK_SUCCESS, **facts)
    assert model.latent_mode(now) is LatentMode.BALANCED


def test_free_successes_cost_no_energy_and_paid_ones_stop_at_the_floor() -> None:
    free = step(vector(energy=0.5), TriggerType.TASK_SUCCESS, mode=Mode.FOLLOWER)
    assert free.energy == 0.5
    assert step(vector(energy=0.01), TriggerType.TASK_SUCCESS).energy == 0.0
    assert step(vector(energy=-0.9), TriggerType.TASK_SUCCESS).energy == -0.9, "never lifted"


def test_energy_follows_the_budget_that_remains() -> None:
    assert model.energy_setpoint(1.0) == pytest.approx(0.7)
    assert model.energy_setpoint(0.0) == pytest.approx(-0.6)
    assert model.energy_setpoint(0.5) == pytest.approx(0.05)
    assert model.energy_setpoint(7) == pytest.approx(0.7)
    assert model.energy_setpoint(-1) == pytest.approx(-0.6)
    spent = model.setpoints(SentienceConfig(), model.energy_setpoint(0.0))
    late = model.decay(ValenceVector(), spent, 12 * 3600)
    assert model.latent_mode(late) is LatentMode.RECOVERY, "an empty purse ends in recovery"


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"energy": -0.51}, "recovery"),
        ({"safety": -0.51}, "recovery"),
        ({"energy": -0.5, "safety": -0.5}, "cautious"),
        ({"safety": -0.01, "curiosity": 0.9}, "cautious"),
        ({"safety": 0.0}, "balanced"),
        ({"curiosity": 0.31, "self_confidence": 0.11}, "auto_creative"),
        ({"curiosity": 0.3, "self_confidence": 0.9}, "balanced"),
        ({"curiosity": 0.9, "self_confidence": 0.1}, "balanced"),
        ({"curiosity": -0.31}, "auto_contained"),
        ({"self_confidence": -0.21}, "auto_contained"),
        ({"curiosity": 0.9, "self_confidence": -0.21}, "auto_contained"),
        ({"curiosity": -0.3, "self_confidence": -0.2}, "balanced"),
    ],
)
def test_the_first_rule_that_matches_names_the_latent_mode(
    fields: dict[str, float], mode: str
) -> None:
    assert model.latent_mode(vector(**fields)) == mode


def test_homeostatic_cost_is_the_sum_of_squares() -> None:
    assert model.homeostatic_cost(TARGETS, TARGETS) == 0
    moved = vector(safety=0.3, curiosity=-0.4)
    assert model.homeostatic_cost(moved, TARGETS) == pytest.approx(0.04 + 0.16)
