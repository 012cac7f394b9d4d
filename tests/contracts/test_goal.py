"""The goal contract: what text, names and transitions are allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import IllegalTransition, InvalidGoal, InvalidOption
from llmos_workers.contracts.goal import (
    FINAL_STATES,
    MAX_GOAL_CHARS,
    TRANSITIONS,
    GoalState,
    check_goal_text,
    check_project_name,
    check_transition,
)


def test_every_state_has_a_row_of_transitions():
    assert set(TRANSITIONS) == set(GoalState)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_final_state_is_final(state):
    for after in GoalState:
        with pytest.raises(IllegalTransition):
            check_transition(state, after)


@pytest.mark.parametrize("text", ["", "   \n", "x" * (MAX_GOAL_CHARS + 1), "a\x00b", 7, None])
def test_bad_goals_are_refused_in_words(text):
    with pytest.raises(InvalidGoal) as caught:
        check_goal_text(text)
    assert "goal" in str(caught.value)


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "Zs")), min_size=1))
def test_ordinary_text_passes_stripped(text):
    if text.strip():
        assert check_goal_text(text) == text.strip()


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", ".", "..", "a" * 65, "-a", "a\n", None])
def test_project_names_cannot_be_paths(name):
    with pytest.raises(InvalidOption):
        check_project_name(name)
