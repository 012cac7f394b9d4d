"""Shadow audit: what counts as the same work, what as other work, and what as taste."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.learning.shadow import Agreement, Effects, compare_effects

GOAL = "Convert sales.csv to sales.json"
ROWS = [{"region": "north", "amount": 1}]


def made(content: object, name: str = "sales.json") -> Effects:
    text = content if isinstance(content, str) else json.dumps(content)
    return Effects("Done.", {name: text.encode()})


@pytest.mark.parametrize(
    ("replayed", "again", "agreement"),
    [
        (made(ROWS), made(ROWS), Agreement.AGREED),
        (made(ROWS), made(json.dumps(ROWS, indent=2)), Agreement.AGREED),
        (made(ROWS), made([]), Agreement.DISAGREED),
        (made("{"), made(ROWS), Agreement.DISAGREED),
        (made(ROWS), Effects("Done."), Agreement.DISAGREED),
        (Effects("Done."), made(ROWS), Agreement.DISAGREED),
        (made(ROWS), Effects("", {"sales.json": None}), Agreement.DISAGREED),
        (made("a, b\n", "x.csv"), made("a,b\r\n", "x.csv"), Agreement.DISAGREED),
        (made("a,b\n", "x.csv"), made("a,b\r\n\n", "x.csv"), Agreement.AGREED),
        (made("Hello", "notes.md"), made("Hi", "notes.md"), Agreement.UNCLEAR),
        (made("a  b\n", "notes.md"), made("a b", "notes.md"), Agreement.AGREED),
    ],
)
def test_files_are_held_against_each_other(replayed, again, agreement) -> None:
    assert compare_effects(GOAL, replayed, again).agreement is agreement


def test_a_helper_beside_the_work_is_taste_and_a_changed_input_is_not() -> None:
    more = Effects("", {"sales.json": b"[]", "convert.py": b"print()"})
    assert compare_effects(GOAL, made([]), more).agreement is Agreement.UNCLEAR
    found = compare_effects(GOAL, made([]), more, existed=["convert.py"])
    assert found.agreement is Agreement.DISAGREED
    assert found.why == ("only the model changed convert.py",)


@pytest.mark.parametrize(
    ("mine", "theirs", "agreement"),
    [
        ("notes.txt has 12 lines.", "12 lines are in notes.txt", Agreement.AGREED),
        ("notes.txt has 12 lines.", "There are 13.", Agreement.DISAGREED),
        ("It is 12 of 40.", "It is 12.", Agreement.UNCLEAR),
        ("Yes.", "Certainly so.", Agreement.UNCLEAR),
        ("Yes.", "Yes.", Agreement.AGREED),
    ],
)
def test_answers_are_compared_by_their_numbers(mine, theirs, agreement) -> None:
    found = compare_effects("Count the lines of notes.txt", Effects(mine), Effects(theirs))
    assert found.agreement is agreement


FILES = st.dictionaries(st.sampled_from(["a.txt", "b.csv", "c.json"]), st.binary(max_size=8))


@given(FILES, st.text(max_size=20))
def test_a_run_agrees_with_itself(files, answer) -> None:
    effects = Effects(answer, files)
    assert compare_effects("any goal", effects, effects).agreement is Agreement.AGREED


@given(FILES, FILES)
def test_neither_side_is_favoured(mine, theirs) -> None:
    one = compare_effects("write b.csv", Effects("", mine), Effects("", theirs))
    other = compare_effects("write b.csv", Effects("", theirs), Effects("", mine))
    assert one.agreement is other.agreement
