"""To ask about a deed is not to ask for it, and what is asked on top is asked."""

from __future__ import annotations

import pytest

from llmos_workers.learning.matching.mood import Stance, questions, stance
from llmos_workers.learning.matching.parse import parse
from tests.learning.matching.conftest import FOLLOW, confidence


@pytest.mark.parametrize(
    ("deed", "question"),
    [
        ("Forward the itinerary to Jonas", "Did I forward the itinerary to Jonas?"),
        ("Lock the front door", "Is the front door locked?"),
        ("Lock the front door", "is the front door locked"),
        ("Close the blinds at sunset", "Do the blinds close at sunset?"),
        ("Deploy spring-sale to staging", "Has spring-sale been deployed to staging?"),
        ("Convert a.csv to JSON", "Check whether a.csv has been converted to JSON"),
        ("Convert a.csv to JSON", "Tell me if a.csv was converted to JSON"),
        ("Renew the certificate of a.com", "When was the certificate of a.com renewed?"),
        ("Print page 1 of a.pdf twice", "Why was page 1 of a.pdf printed twice?"),
        ("deploy x.py to staging pls", "show me what changes if x.py is deployed to staging"),
        ("clean the hallway", "has the hallway been cleaned yet?"),
        ("Save all attachments to ~/in", "Have all attachments been saved to ~/in?"),
        ("Set the lamp's price to 49.90", "lamp, price -> is it 49.90?"),
        ("Give Leonie access to the folder", "Can you tell if Leonie has access to the folder?"),
        ("hall thermostat to 19 degrees", "Is the hall thermostat set to 19 degrees?"),
        ("Archive the reports of 2023", "List the reports of 2023 in the archive"),
        ("Archive the reports of 2023", "Get the reports of 2023 back from the archive"),
        ("Make all .sh files executable", "Run all executable .sh files"),
        (
            "Register a return for the shoes and tell me the code",
            "Tell me the code of the return I registered for the shoes",
        ),
    ],
)
def test_a_question_about_a_deed_is_not_the_deed(deed: str, question: str) -> None:
    assert confidence(deed, question) < FOLLOW
    assert confidence(question, deed) < FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is parcel JD01 right now?", "How heavy is parcel JD01?"),
        ("Where is my parcel?", "Tell me when my parcel arrives"),
        ("When does the certificate of a.com expire?", "Why did the certificate of a.com expire?"),
        ("Split a.txt in two", "Split a.txt in two and print it"),
        ("Book a table at Nonna", "Book a table at Nonna and put it in my calendar"),
        ("Change the price in the database", "Change the price in the database and on its page"),
        ("Copy a.txt to b.txt", "Write a script that copies a.txt to b.txt"),
        ("Revert commit 4f2a91c", "Revert the revert of commit 4f2a91c"),
        ("Zip the folder reports with rsync", "rsync the folder reports"),
        ("Stop the machines tagged dev", "Tag the stopped machines dev"),
        ("Count all mails with the label Taxes", "Label all mails with Taxes"),
        ("Convert a.ipynb to HTML", "Run a.ipynb and then convert it to HTML"),
        ("Switch every light in the hall off", "Switch every light in the hall on"),
        ("Book the blue room", "Book any room but the blue one"),
        ("Rename every file in ~/in to x", "Rename every folder in ~/in to x"),
        ("How many requests failed in a.log", "How many POST requests failed in a.log"),
    ],
)
def test_another_question_and_another_clause_are_other_goals(one: str, other: str) -> None:
    assert confidence(one, other) < FOLLOW
    assert confidence(other, one) < FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Check if example.com is up", "could you see whether example.com is up?"),
        ("Count the lines in server.log", "How many lines does server.log have?"),
        ("Count the lines in server.log", "what's the line count of server.log"),
        ('Translate "good morning" to Spanish', 'How do you say "good morning" in Spanish?'),
        ("Copy all images from A to B", "All images in A should be copied to B"),
        ("Could Friday's review be moved to Monday?", "Move Friday's review to Monday"),
        ("Delete the rows", "I want the rows deleted"),
        ("Merge the develop branch into main", "get the develop branch merged into main"),
        ("Restart the nginx container", "the nginx container needs a restart"),
    ],
)
def test_the_same_wish_in_another_mood_is_followed(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("Have the robot clean the hall", Stance.DEED),
        ("Have the files been deleted?", Stance.YES_OR_NO),
        ("Delete the logs", Stance.DEED),
        ("Could you delete the logs?", Stance.DEED),
        ("What do the logs say?", Stance.ANSWER),
        ("Find out which process is on port 80 and kill it", Stance.DEED),
        ("Find out which process was killed", Stance.ANSWER),
        ("Write a haiku about rain", Stance.MAKING),
        ("", Stance.UNSAID),
    ],
)
def test_what_a_goal_wants(goal: str, wanted: Stance) -> None:
    assert stance(parse(goal)) is wanted


def test_when_a_condition_opens_a_goal_it_asks_nothing() -> None:
    assert not questions("When it rains, close the window").spans
    assert questions("When does it rain?").words == {"when"}
