"""A trace's own threshold: moved by what became of following it, up and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.learning.posterior import (
    EXACT,
    FLOOR,
    NEVER,
    evidence_field,
    own_threshold,
    standing,
    upper_bound,
)

STAGES = ["exact", "alias", "judged", "template", "structure"]
labels = st.tuples(st.sampled_from(STAGES), st.floats(0.92, 1), st.booleans())
bases = st.floats(0.5, 1)
errors = st.floats(0.001, 0.2)


def evidence_of(outcomes):
    counts = {}
    for stage, confidence, right in outcomes:
        name = evidence_field(stage, confidence, right=right)
        counts[name] = counts.get(name, 0) + 1
    return counts


def test_without_evidence_the_common_threshold_holds():
    assert own_threshold({}, 0.92, 0.01).value == 0.92
    assert own_threshold({}, 0.92, 0.01).why == ""


def test_one_wrong_replay_raises_the_threshold_above_it():
    found = own_threshold(evidence_of([("structure", 0.956, False)]), 0.92, 0.01)
    assert found.value == 0.96
    assert found.why == "1 of 1 known outcomes were wrong"


def test_enough_right_ones_bring_it_back():
    wrong = [("structure", 0.956, False)]
    few = evidence_of([*wrong, *[("structure", 0.956, True)] * 20])
    many = evidence_of([*wrong, *[("structure", 0.956, True)] * 100])
    assert own_threshold(few, 0.92, 0.01).value > 0.92
    assert own_threshold(many, 0.92, 0.01).value == 0.92


def test_a_wrong_wording_spares_the_goals_own_text():
    found = own_threshold(evidence_of([("alias", 1.0, False)]), 0.92, 0.01)
    assert standing("alias", 1.0) < found.value <= standing("exact", 1.0)


def test_a_trace_that_was_wrong_for_its_own_goal_is_not_followed_at_all():
    assert own_threshold(evidence_of([("exact", 1.0, False)]), 0.92, 0.01).value == NEVER


def test_counters_of_other_versions_are_passed_over():
    assert own_threshold({"wrong_nonsense": 9, "strange": 3}, 0.92, 0.01).value == 0.92


@given(st.lists(labels, max_size=60), bases, errors)
def test_it_is_never_below_the_floor_and_the_estimate_is_kept(outcomes, base, allowed):
    found = own_threshold(evidence_of(outcomes), base, allowed)
    assert max(FLOOR, base) <= found.value <= NEVER
    if found.value < NEVER:
        assert found.error <= allowed


@given(st.lists(labels, max_size=40), st.sampled_from(STAGES), st.floats(0.92, 1), errors)
def test_a_wrong_outcome_never_lowers_it(outcomes, stage, confidence, allowed):
    before = own_threshold(evidence_of(outcomes), FLOOR, allowed)
    after = own_threshold(evidence_of([*outcomes, (stage, confidence, False)]), FLOOR, allowed)
    assert after.value >= before.value


@given(st.sampled_from(STAGES), st.floats(0.92, 1), st.floats(0.92, 1))
def test_a_surer_match_never_stands_lower(stage, one, other):
    low, high = sorted((one, other))
    assert standing(stage, low) <= standing(stage, high) <= EXACT


@pytest.mark.parametrize(
    ("wrong", "total", "bound"), [(0, 299, 0.00997), (0, 1, 0.95), (1, 100, 0.0466), (3, 3, 1.0)]
)
def test_the_bound_is_that_of_clopper_and_pearson(wrong, total, bound):
    assert upper_bound(wrong, total) == pytest.approx(bound, abs=2e-4)


@given(st.integers(0, 50), st.integers(1, 500))
def test_the_bound_shrinks_with_evidence_and_grows_with_errors(wrong, total):
    wrong = min(wrong, total)
    assert wrong / total <= upper_bound(wrong, total) <= 1
    assert upper_bound(wrong, total + 1) <= upper_bound(wrong, total) + 1e-9
    if wrong < total:
        assert upper_bound(wrong, total) <= upper_bound(wrong + 1, total) + 1e-9
