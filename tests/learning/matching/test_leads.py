"""Which preposition leads a thing in tells what part it takes."""

from __future__ import annotations

import pytest

from tests.learning.matching.conftest import FOLLOW, confidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Write a letter to Ann", "Write a letter for Ann"),
        ("Book a call with Tomas", "Book a call for Tomas"),
        ("List the mails in Rome", "List the mails from Rome"),
        ("Find a picture of Ann", "Find a picture for Ann"),
        ("Finish the report on Friday", "Finish the report by Friday"),
        ("Export my calendar for May", "Export my calendar from May"),
        ("Walk through the park", "Walk around the park"),
        ("Write a report on the sales team", "Write a report for the sales team"),
        ("Show the files outside lib", "Show the files lib"),
    ],
)
def test_another_preposition_is_another_part(one: str, other: str) -> None:
    assert confidence(one, other) < FOLLOW
    assert confidence(other, one) < FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Save the chart to a.png", "Save the chart as a.png"),
        ("Copy the images from Downloads to B", "Copy the images in Downloads to B"),
        ("Count the lines in a.log", "Count the lines of a.log"),
        ("Fetch the weather for Paris", "Get the weather in Paris"),
        ("Write a haiku about cats", "Write a haiku on cats"),
        ("Remind me at 9am to call the bank", "Set a reminder for 9am: call the bank"),
        ("Show me the mails from Dana", "Show me the mails sent by Dana"),
    ],
)
def test_prepositions_that_say_the_same_are_followed(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW
