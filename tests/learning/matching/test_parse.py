from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.learning.matching.parse import parse, words_of
from llmos_workers.learning.matching.tokens import Kind, Role

PARTS = ["delete", "all", "a.csv", "from", "to", "->", "'x", "3", "30min", "10%", "no", "twenty"]
PARTS += ["https://x.org/a", "me@x.org", "$5", "2+2", "*.py", "~/a/b", "March", "w/", "Bob's"]
GOAL_LIKE = st.lists(st.sampled_from(PARTS) | st.text(max_size=8), max_size=14).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120) | GOAL_LIKE)
def test_any_text_can_be_read_and_tokens_lie_in_it_in_order(text: str) -> None:
    goal = parse(text)
    end = 0
    for token in goal.tokens:
        assert 0 <= token.start <= token.end <= len(text)
        assert token.end >= end
        end = token.end
    assert len(goal.respelled) >= 0


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("open https://x.org/A?b=1, now", Kind.URL, "https://x.org/A?b=1"),
        ("mail Bob@X.org today", Kind.EMAIL, "bob@x.org"),
        ("read ~/notes/a.txt.", Kind.PATH, "~/notes/a.txt"),
        ("run tests/api", Kind.PATH, "tests/api"),
        ("clean the src/ folder", Kind.PATH, "src/"),
        ("read Report.csv", Kind.FILE, "Report.csv"),
        ("keep .env safe", Kind.FILE, ".env"),
        ("count *.py files", Kind.GLOB, "*.py"),
        ("pay 1,200 dollars", Kind.NUMBER, "1200"),
        ("the first twenty one primes", Kind.NUMBER, "21"),
        ("two hundred lines", Kind.NUMBER, "200"),
        ("wait 30min", Kind.NUMBER, "30"),
        ("at 3 pm", Kind.TIME, "15:00"),
        ("at 15:00", Kind.TIME, "15:00"),
        ("on 2026-11-21", Kind.DAY, "2026-11-21"),
        ("to 800 by 600", Kind.SIZE, "800x600"),
        ("compute 2 + 2", Kind.EXPRESSION, "2+2"),
        ("use MAX_SIZE", Kind.IDENTIFIER, "MAX_SIZE"),
        ("with --force", Kind.IDENTIFIER, "--force"),
        ("revert 5f3a9c", Kind.IDENTIFIER, "5f3a9c"),
        ("post in #general", Kind.CHANNEL, "#general"),
        ("say 'good  night'", Kind.QUOTE, "good night"),
        ("do not run it", Kind.NEGATION, "not"),
        ("don't run it", Kind.NEGATION, "not"),
        ("in js", Kind.LANGUAGE, "javascript"),
        ("as yml", Kind.FORMAT, "yaml"),
        ("into German", Kind.SPEECH, "german"),
        ("10 kilobytes", Kind.UNIT, "kb"),
        ("5% off", Kind.UNIT, "percent"),
        ("larger than 5", Kind.COMPARISON, "more"),
        ("over 5 items", Kind.COMPARISON, "more"),
        ("the newest one", Kind.ORDER, "last"),
        ("every file", Kind.QUANTIFIER, "all"),
    ],
)
def test_typed_values_have_one_canonical_form(text: str, kind: Kind, value: str) -> None:
    assert (kind, value) in [(token.kind, token.value) for token in parse(text).tokens]


def test_source_and_destination_are_marked() -> None:
    roles = {t.value: t.role for t in parse("convert csv to json").tokens}
    assert roles["json"] is Role.DESTINATION
    arrow = {t.value: t.role for t in parse("a.csv -> b.json").tokens}
    assert (arrow["a.csv"], arrow["b.json"]) == (Role.SOURCE, Role.DESTINATION)


def test_a_slip_is_read_as_the_word_of_the_other_goal() -> None:
    context = words_of(parse("Summarize the quarterly turnover"))
    assert "turnover" in parse("sum up the quarterly turnovr", context).respelled


def test_polite_words_say_nothing() -> None:
    plain = [t.value for t in parse("list files").tokens]
    assert [t.value for t in parse("could you please list files for me").tokens] == plain
