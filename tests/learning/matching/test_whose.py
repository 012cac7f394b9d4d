"""What stays alike however it is said whose a thing is, who sent it, how many there are."""

from __future__ import annotations

import itertools

import pytest

from llmos_workers.learning.matching.align import align
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.counts import counted_otherwise
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.owners import owned_otherwise, possessions
from llmos_workers.learning.matching.parse import parse, parse_beside
from llmos_workers.learning.matching.parties import sent_otherwise
from llmos_workers.learning.matching.sides import Sides, sides_of
from llmos_workers.learning.matching.trades import traded_around

FOLLOW = 0.92


def sides(one: str, other: str) -> Sides:
    first = parse(one)
    second = parse_beside(other, first)
    return sides_of(first, second, align(first, second, lexicon()), lexicon())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Show Apple's stock price", "Show the stock price of Apple"),
        ("Show Apple's stock price", "Show the Apple stock price"),
        ("Show my calendar for Monday", "Show the calendar for Monday"),
        ("Email Ben's report to Anna", "Email Anna Ben's report"),
        ("Send my sister's address to Tom", "Send Tom my sister's address"),
        ("Forward the bill to our bookkeeper Petra", "Forward our bookkeeper Petra the bill"),
        ("Show the emails from Sandra", "Show the emails Sandra sent me"),
        ("Send bob@x.com the invoice", "Send the invoice to bob@x.com"),
        ("Show my unread emails from Tom", "Show the emails from Tom that I have not read"),
        ("Delete all the logs in /tmp/x", "Delete the logs in /tmp/x"),
        ("Close all tickets from May", "Close the tickets from May"),
        ("Back up the entire disk", "Back up the disk"),
        ("Kill the process on port 8080", "Kill the port 8080 process"),
        ("Switch to the main branch", "Switch to branch main"),
        ("Create a new user Anna", "Create a user Anna"),
        ("Save the result in a new file b.txt", "Save the result in a file b.txt"),
        ("Generate a password of 16 characters", "Generate a 16-character password"),
        ("List the top five customers by revenue", "List the five customers with the most revenue"),
        ("What is the weather like in Berlin?", "Show the weather in Berlin"),
    ],
)
def test_other_words_for_the_same_relation_follow(one: str, other: str) -> None:
    for first, second in itertools.permutations((one, other)):
        held = compare(first, second, bundled_embedder().embed, cosine=0.97)
        assert held.confidence >= FOLLOW, held.differed


def test_an_owner_owns_the_phrase_up_to_the_next_owner() -> None:
    goal = parse("Send my wife's latest report and Ben's car keys to the printer")
    owned = {
        thing.word: owner if isinstance(owner, str) else owner.word
        for thing, owner in possessions(goal).items()
    }
    assert owned == {"wife": "my", "report": "wife", "car": "ben", "keys": "ben"}


@pytest.mark.parametrize(
    ("tells", "one", "other"),
    [
        (owned_otherwise, "Copy my notes into Kim's file", "Copy Kim's notes into my file"),
        (owned_otherwise, "Call the boss of Ann's wife", "Call the wife of Ann's boss"),
        (owned_otherwise, "Save Ann's list in the den", "Save the list in Ann's den"),
        (sent_otherwise, "Show the mails Ben sent me", "Show the mails I sent Ben"),
        (sent_otherwise, "Count mails Ann wrote", "Count mails Ann received"),
        (sent_otherwise, "Tell Ann that I am ill", "Tell me that Ann is ill"),
        (counted_otherwise, "Make groups of four", "Make four groups"),
        (counted_otherwise, "Block 3-7 June", "Block 3 and 7 June"),
        (counted_otherwise, "Find what port process 80 has", "Find what process port 80 has"),
        (counted_otherwise, "Add user ops to the team web", "Add team ops to the user web"),
        (counted_otherwise, "Make a list with a box", "Make a box, add it to the list"),
        (counted_otherwise, "Show folders with the most files", "Show largest folders with files"),
        (traded_around, "Tell why rain causes floods", "Tell why floods cause rain"),
    ],
)
def test_each_relation_tells_its_own_look_alikes(tells, one: str, other: str) -> None:
    assert tells(sides(one, other))
    assert tells(sides(other, one))
    assert not tells(sides(one, one))
    assert not tells(sides(other, other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Block 3 to 7 June", "Block 3-7 June"),
        ("Block 3 June until 7 June", "Block 3-7 June"),
        ("Block every day between 3 and 7 June", "Block every day from 3 to 7 June"),
        ("List the reports of 2023", "List the 2023 reports"),
        ("Split the class into teams of five pupils", "Split the class into five-pupil teams"),
    ],
)
def test_numbers_may_be_said_in_other_words(one: str, other: str) -> None:
    assert not counted_otherwise(sides(one, other))
    assert not counted_otherwise(sides(other, one))
