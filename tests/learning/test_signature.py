from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.learning.signature import goal_signature, normalize_goal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Create a Python calculator", "create a  Python calculator."),
        ("  List the files\n", "list the files!"),
        ("café menu", "cafe\u0301 menu"),
    ],
)
def test_spacing_case_of_words_and_closing_dots_do_not_matter(one: str, other: str) -> None:
    assert goal_signature(one) == goal_signature(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('write "Hello"', 'write "hello"'),
        ('write "a  b"', 'write "a b"'),
        ("read Notes.txt", "read notes.txt"),
        ("read ./A/b", "read ./a/b"),
        ("set MAX_SIZE", "set max_size"),
        ("pay 10 USD", "pay 100 USD"),
        ("convert csv to json", "convert json to csv"),
        ("echo $HOME", "echo $home"),
    ],
)
def test_what_may_carry_meaning_is_kept(one: str, other: str) -> None:
    assert goal_signature(one) != goal_signature(other)


@given(st.text(max_size=200))
def test_any_text_has_a_signature_and_normalizing_twice_changes_nothing(text: str) -> None:
    assert len(goal_signature(text)) == 16
    once = normalize_goal(text)
    assert normalize_goal(once) == once
