"""Goals of one template: the same of other values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.learning.matching.template import template_signature

ALIKE = [
    ("Count the lines in a.txt", "count the lines in docs/b.txt."),
    ('Write "hello" to x.md', 'Write "good bye" to notes.md'),
    ("Fetch https://a.example/1 and save it", "Fetch https://b.example/22 and save it"),
    ("List the 5 largest files", "List the 10 largest files"),
    ("Report sales of 2024-01-05", "Report sales of 2025-11-30"),
]
UNLIKE = [
    ("Count the lines in a.txt", "Count the words in a.txt"),
    ("Count the lines in a.txt", "Count the lines in a.csv"),
    ("Copy a.txt from x/ to y/", "Copy a.txt to x/ from y/"),
    ("Delete a.txt", "Do not delete a.txt"),
    ("Report sales of today", "Report sales of yesterday"),
    ("Write a calculator in Python", "Write a calculator in Rust"),
    ("List the 5 largest files", "List the 5 smallest files"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_other_values_are_the_same_template(one, other):
    assert template_signature(one) == template_signature(other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_other_words_are_another_template(one, other):
    assert template_signature(one) != template_signature(other)


@given(st.text(max_size=60))
def test_every_text_has_one(text):
    assert len(template_signature(text)) == 16
