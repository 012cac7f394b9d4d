from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.learning.matching.compare import MAX_TOKENS, compare
from llmos_workers.learning.matching.embedder import Embedding, MiniLMEmbedder, bundled_embedder
from llmos_workers.learning.matching.model import DOUBT_CAP, GREY, Model

FOLLOW = 0.92
CALCULATORS = (
    "Create a Python calculator",
    "Build a calculator in Python",
    "Make a calc tool using python",
)


def confidence(one: str, other: str) -> float:
    return compare(one, other, bundled_embedder().embed).confidence


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(CALCULATORS, 2)))
def test_the_three_wordings_of_the_calculator_follow_each_other(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW


@pytest.mark.parametrize("stored", CALCULATORS)
@pytest.mark.parametrize(
    "asked",
    [
        "Create a Rust calculator",
        "Build a calculator in JavaScript",
        "Make a calc tool using go lang",
        "Create a scientific Python calculator",
        "Create a Python calculator with a GUI",
        "Create a Python calculator without tests",
        "Do not create a Python calculator",
        "Delete the Python calculator",
        "Test the Python calculator",
        "Create two Python calculators",
        "Create a Python calendar",
    ],
)
def test_other_calculators_do_not_follow(stored: str, asked: str) -> None:
    assert confidence(stored, asked) < FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("convert csv to json", "convert json to csv"),
        ("Translate this from English to French", "Translate this from French to English"),
        ("move a.txt from x/ to y/", "move a.txt from y/ to x/"),
        ("copy a.txt b.txt", "copy b.txt a.txt"),
        ("replace foo with bar in x.py", "replace bar with foo in x.py"),
        ("summarize the report by Ann for Bob", "summarize the report by Bob for Ann"),
        ("send 3 apples and 5 pears to Bob", "send 5 apples and 3 pears to Bob"),
        ("generate a 16-character password", "generate 16 passwords"),
        ("limit uploads to 10 MB", "limit uploads to 10 GB"),
        ("delete files older than 7 days", "delete files newer than 7 days"),
        ("list files over 5 MB", "list files under 5 MB"),
        ("delete the log", "delete the logs"),
        ("delete all logs", "delete some logs"),
        ("explain how the build failed", "explain why the build failed"),
        ("send me the invoice", "send him the invoice"),
        (
            "merge with a merge commit, no fast-forward",
            "merge with a fast-forward, no merge commit",
        ),
        ("reload nginx without restarting", "restart nginx without reloading"),
        ("list files that contain TODO", "search files for TODO"),
        ("keep the first row of a.csv", "keep the last row of a.csv"),
        ("read notes.txt", "read Notes.txt"),
        ('write "Hello" to a.txt', 'write "hello" to a.txt'),
        ("compute 2+2", "compute 2-2"),
        ("encrypt data.zip", "decrypt data.zip"),
        ("start the worker", "stop the worker"),
        ("average the price column of a.csv", "set the price column of a.csv to the average"),
        ("run the tests", "run the tests in parallel"),
        ("show the report for March", "show the report for May"),
        ("install numpy 1.26", "install numpy 2.0"),
        ("ping 10.0.0.1", "ping 10.0.0.2"),
        # What is shown is no thing of another name that one can show.
        ("delete the old report", "delete the old list"),
        ("send the report to Bob", "send the list to Bob"),
        ("write the label Pump to the display", "write the label Pump to the report"),
        ("write Pump to display", "write Pump to report"),
        ("write a report of sales.csv to r.md", "write a list of sales.csv to r.md"),
        ("rename report A to B", "rename list A to B"),
        ("remove Anna from her list", "remove Anna from her report"),
        ("rename the copy to b.txt", "rename the duplicate to b.txt"),
        ("upload the export", "upload the conversion"),
        ("give me a report of sales", "give me a list of sales"),
    ],
)
def test_look_alikes_do_not_follow_in_either_direction(one: str, other: str) -> None:
    assert confidence(one, other) < FOLLOW
    assert confidence(other, one) < FOLLOW


LOOK_ALIKES = [
    tuple(line.split("|"))
    for line in (Path(__file__).parent / "look_alikes.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_no_pair_of_the_look_alike_list_follows_in_either_direction() -> None:
    wrong = [
        (one, other)
        for pair in LOOK_ALIKES
        for one, other in itertools.permutations(pair)
        if compare(one, other, bundled_embedder().embed, cosine=0.97).confidence >= FOLLOW
    ]
    assert len(LOOK_ALIKES) > 100
    assert not wrong


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Convert csv to json", "csv -> json conversion please"),
        ("List the first ten users", "please show the first 10 users"),
        ("Delete the cache folder", "could you remove the cache directory?"),
        ("Rename a.txt to b.txt", "rename a.txt into b.txt pls"),
        ("Book a call at 3 pm", "schedule a call at 15:00"),
    ],
)
def test_plain_rewordings_follow(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW


BASES = (
    "Copy all images from inbox to archive",
    "Count the lines of server.log",
    "Create a weekly report for the sales team",
    "Resize photo.png to 800x600",
    "Send the invoice of March to bob@example.com",
)
CHANGES = (
    lambda text: f"Do not {text[0].lower()}{text[1:]}",
    lambda text: f"{text} except the last one",
    lambda text: f"{text} and delete the originals",
    lambda text: f"{text} in Rust",
    lambda text: f"{text} 7 times",
    lambda text: f"{text} if it is raining",
    lambda text: f"{text} as JSON",
    lambda text: f"{text} only on Monday",
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BASES), st.sampled_from(CHANGES))
def test_an_added_constraint_or_negation_blocks_both_ways(base: str, change: object) -> None:
    changed = change(base)  # type: ignore[operator]
    assert confidence(base, changed) < FOLLOW
    assert confidence(changed, base) < FOLLOW


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["MB", "days", "users", "%"]))
def test_numbers_must_be_equal(one: int, other: int, unit: str) -> None:
    follows = confidence(f"warn above {one} {unit}", f"warn above {other} {unit}") >= FOLLOW
    assert follows == (one == other)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_any_two_texts_can_be_compared_and_equal_ones_are_the_same(one: str, other: str) -> None:
    assert 0 <= confidence(one, other) <= 1
    assert confidence(one, one) == 1.0


def test_the_reasons_are_told_in_words(embedder: MiniLMEmbedder) -> None:
    held = compare("Create a Python app", "Create a Rust app", embedder.embed)
    assert any("Rust" in reason for reason in held.differed)
    assert any("Python" in reason for reason in held.differed)
    assert "closed_added" in held.strong


def test_without_token_vectors_words_alone_decide(embedder: MiniLMEmbedder) -> None:
    def plain(text: str) -> Embedding:
        return Embedding(embedder.embed(text).vector)

    assert compare(CALCULATORS[0], CALCULATORS[2], plain).confidence >= FOLLOW
    assert compare("convert csv to json", "convert json to csv", plain).confidence < FOLLOW


def test_goals_too_long_to_read_closely_are_never_followed(embedder: MiniLMEmbedder) -> None:
    long = "copy the file " * MAX_TOKENS
    assert compare(long, long + " now", embedder.embed).confidence == 0.0


def test_no_weights_outweigh_an_objection(embedder: MiniLMEmbedder) -> None:
    sure = Model(1.0, dict.fromkeys(GREY, 0.0), 50.0)
    held = compare("encrypt a.zip", "decrypt a.zip", embedder.embed, model=sure)
    assert held.confidence <= DOUBT_CAP < FOLLOW
