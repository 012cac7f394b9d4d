"""Rewording and another value at once: what is bound, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.matching.slots import bind
from tests.learning.matching.conftest import step
from tests.learning.matching.test_slots import ask, declared, replayed

RENAME = declared("rename draft.txt -> final.txt", step(command="mv draft.txt final.txt"),
                  old="draft.txt", new="final.txt")  # fmt: skip
PAY = declared("please wire ten dollars over to Ann", step("Pay", to="Ann", amount=10, unit="USD"),
               who="Ann", amount="ten")  # fmt: skip
FETCH = declared("Download https://a.example/d.zip to /tmp",
                 step("Fetch", url="https://a.example/d.zip", folder="/tmp"),
                 url="https://a.example/d.zip", folder="/tmp")  # fmt: skip
REMIND = declared("please create a reminder for tomorrow 9am: call the bank",
                  step("Remind", text="call the bank", day="tomorrow", time="9am"),
                  what="call the bank", day="tomorrow", time="9am")  # fmt: skip
HAIKU = declared("Create a haiku about cats", step("Haiku", topic="cats"), topic="cats")
CUT = declared("Cut the first 40 seconds from talk.mp3", step("Cut", n=40, file="talk.mp3"),
               n="40", file="talk.mp3")  # fmt: skip
FREE = declared("When do I have a free half hour this week?", step("Free", minutes=30), n="30")
ORDER = declared("Order 1200 bricks of type K2 from Hansen",
                 step("Order", n=1200, type="K2", of="Hansen"),
                 n="1200", type="K2", seller="Hansen")  # fmt: skip


@pytest.mark.parametrize(
    ("trace", "goal", "arguments"),
    [
        (RENAME, "please rename the file a.doc as b.doc", {"command": "mv a.doc b.doc"}),
        (RENAME, "Rename a.txt to b.txt", {"command": "mv a.txt b.txt"}),
        (RENAME, "Rename final.txt to draft.txt", {"command": "mv final.txt draft.txt"}),
        (PAY, "Send 100 USD to Bob", {"to": "Bob", "amount": 100, "unit": "USD"}),
        (PAY, "give Bob 25 US dollars", {"to": "Bob", "amount": 25, "unit": "USD"}),
        (FETCH, "Fetch https://b.example/x.tar.gz and save it to /srv/in",
         {"url": "https://b.example/x.tar.gz", "folder": "/srv/in"}),
        (REMIND, "Remind me to buy milk tomorrow at 9am",
         {"text": "buy milk", "day": "tomorrow", "time": "9am"}),
        (HAIKU, "Create a haiku about black cats", {"topic": "black cats"}),
        (CUT, "From show.mp3, cut the first 25 seconds", {"n": 25, "file": "show.mp3"}),
        (FREE, "Find a free 45-minute slot in my calendar this week", {"minutes": 45}),
        (ORDER, "Order from Hansen 500 bricks of type M4",
         {"n": 500, "type": "M4", "of": "Hansen"}),
        (ORDER, "Order 800 bricks of type K2 from Moro", {"n": 800, "type": "K2", "of": "Moro"}),
    ],
)  # fmt: skip
def test_another_wording_and_another_value(
    trace: ExecutionTrace, goal: str, arguments: dict[str, object]
) -> None:
    assert replayed(trace, goal) == [arguments]


@pytest.mark.parametrize(
    ("trace", "goal"),
    [
        (CUT, "Cut show.mp3 to the first 25 seconds"),
        (CUT, "Cut the last 25 seconds from show.mp3"),
        (CUT, "Cut the first 25 minutes from show.mp3"),
        (ORDER, "Order 500 bricks of type K2 for Moro"),
        (ORDER, "Order at most 500 bricks of type K2 from Hansen"),
        (ORDER, "Order K2 bricks of type 500 from Hansen"),
        (PAY, "Send 100 EUR to Bob"),
        (PAY, "Get 100 USD from Bob"),
        (PAY, "Send 100 USD to Bob and Ann"),
        (FETCH, "Upload https://b.example/x.zip to /srv/in"),
        (FETCH, "Fetch https://b.example/x.zip and save it to /srv/in and to /srv/out"),
        (HAIKU, "Create a haiku about cats without vowels"),
        (HAIKU, "Create two haikus about black cats"),
        (REMIND, "Remind Bob to buy milk tomorrow at 9am"),
        (REMIND, "Remind me to buy milk the day after tomorrow at 9am"),
        (RENAME, "Rename a.txt and b.txt"),
    ],
)
def test_what_only_looks_like_it(trace: ExecutionTrace, goal: str) -> None:
    assert ask(trace, goal) is None


@pytest.mark.parametrize(
    ("goal", "slots", "asked"),
    [
        ("Book a checkup for Luna on Friday", {"pet": "Luna"},
         "Book a checkup for Moro after Friday"),
        ("Analyze game 17 of match.pgn", {"n": "17"}, "Analyze 5 games of match.pgn"),
        ("Append the text 'one' to a.txt", {"file": "a.txt"},
         "Append the text 'one to b.txt' to a.txt"),
        ("Append the text 'one' to a.txt", {"text": "one"}, "Append 'two' and 'three' to a.txt"),
        ("Dim lamp 4 by 20 percent", {"n": "20"}, "Dim lamp 4 to 35 percent"),
        ("Copy a.txt from /old to /new", {"from": "/old", "to": "/new"}, "Copy a.txt to /b, /c"),
        ("Move 5 files from x to y", {"n": "5"}, "Move all files from x to y"),
    ],
)  # fmt: skip
def test_a_value_in_another_place_is_not_the_value(
    goal: str, slots: dict[str, str], asked: str
) -> None:
    trace = declared(goal, step("Do", **slots), **slots)
    assert ask(trace, asked) is None


names = st.from_regex(r"[b-y]{3,8}[0-9]", fullmatch=True).map(lambda s: f"{s}.txt")
numbers = st.integers(2, 9_000).map(str)
wordings = st.sampled_from(
    ["Rename {a} to {b}", "rename {a} -> {b}", "please rename the file {a} as {b}",
     "Could you rename {a} to {b}?", "mv {a} {b}"]
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(wordings, wordings, st.lists(names, min_size=4, max_size=4, unique=True))
def test_values_never_trade_places(learned: str, asked: str, files: list[str]) -> None:
    """Whatever the wording: the source becomes the source, or nothing is bound."""
    a, b, x, y = files
    trace = declared(learned.format(a=a, b=b), step(command=f"mv {a} {b}"), old=a, new=b)
    done = replayed(trace, asked.format(a=x, b=y))
    assert done in (None, [{"command": f"mv {x} {y}"}])


traps = st.sampled_from(
    ["Do not {0}", "{0} and delete it", "{0}, but only if it is empty", "{0} except the last one",
     "{0} twice", "Never {0}", "{0} and then {0} again", "Ask Bob to {0}", "Explain how to {0}",
     "{0} unless it exists", "Undo: {0}", "{0} without asking", "{0} every Monday"]
)  # fmt: skip
goals = st.sampled_from(
    ["rename {a} to {b}", "print {n} copies of {a}", "copy {a} to /srv/{b}",
     "count the words in {a}", "cut the first {n} lines from {a}", "send {a} to Bob"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    goals,
    traps,
    st.lists(names, min_size=4, max_size=4, unique=True),
    st.lists(numbers, min_size=2, max_size=2, unique=True),
)
def test_what_is_added_is_never_lost(
    goal: str, trap: str, files: list[str], counts: list[str]
) -> None:
    """A negation, a condition, a clause beside other values: never bound."""
    (a, b, x, y), (n, m) = files, counts
    slots = {k: v for k, v in (("a", a), ("b", b), ("n", n)) if "{" + k + "}" in goal}
    trace = declared(goal.format(a=a, b=b, n=n), step("Do", **slots), **slots)
    assert ask(trace, trap.format(goal.format(a=x, b=y, n=m))) is None


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["to", "by", "from", "at most", "after"]), numbers, numbers)
def test_a_number_keeps_its_role(word: str, n: str, m: str) -> None:
    assume(n != m)
    trace = declared(f"Reduce the price {word} {n} euros", step("Price", n=n), n=n)
    for other in ("to", "by", "from", "at most", "after"):
        found = ask(trace, f"Please reduce the price {other} {m} euros")
        assert found is None or (other == word and found.slots == {"n": m})


def test_what_is_put_back_reads_as_the_recorded_goal() -> None:
    found = bind(
        FREE, FREE.goal_text, "Find a free 45-minute slot this week", bundled_embedder().embed
    )
    assert found is not None
    assert found.restored == "Find a free 30-minute slot this week"
