"""What a later call takes from an earlier result is a reference, where that is certain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.tools import ToolResult
from llmos_workers.contracts.trace import Reference
from llmos_workers.execution.references import handle, resolved
from llmos_workers.learning.references import with_references
from tests.learning.runs import bash, write

HASH = "9f86d081884c"
GOAL = "Keep sales.csv under its hash"
SUM = bash("sha256sum sales.csv | head -c 12", HASH)


def found(*steps, goal=GOAL):
    return [step.references for step in with_references(goal, steps)]


def test_a_word_that_a_command_said_is_a_reference_where_a_later_command_holds_it():
    _, refs = found(SUM, bash(f"cp sales.csv {HASH}.csv", turn=2))
    assert refs == (Reference(source=0, argument=("command",), value=HASH),)


@pytest.mark.parametrize(
    "later",
    [
        write("note.md", f"The hash is {HASH}.\n", turn=2),
        bash(f"cp sales.csv {HASH}.csv", turn=1),
        bash(f"cp sales.csv {HASH}.csv; echo {HASH[:8].upper()}", turn=2),
        bash(f"cp sales.csv x{HASH}y.csv", turn=2),
    ],
    ids=["in generated content", "in the same turn", "and a part of it", "inside a word"],
)
def test_where_more_may_hang_on_a_value_it_is_a_constant(later):
    assert found(SUM, later) == [(), ()]


def test_one_doubtful_use_makes_all_of_them_constants():
    steps = (SUM, bash(f"cp sales.csv {HASH}.csv", turn=2), write("n.md", HASH, turn=3))
    assert found(*steps) == [(), (), ()]


def test_what_was_known_before_is_no_reference():
    later = bash(f"cp sales.csv {HASH}.csv", turn=2)
    assert found(SUM, later, goal=f"Copy sales.csv to {HASH}.csv") == [(), ()]
    assert found(bash(f"echo {HASH}", HASH), later) == [(), ()]


@pytest.mark.parametrize("said", ["42", "done", "two words 1", "a1;rm b2", "-rf1abc", "x\ny1", ""])
def test_what_is_no_single_telling_word_is_no_handle(said):
    assert handle(said) is None


def test_a_reference_gets_what_its_source_says_now():
    (_, step) = with_references(GOAL, [SUM, bash(f"cp sales.csv {HASH}.csv", turn=2)])
    now = resolved(step, [ToolResult(ok=True, output="60303ae22b99\n")])
    assert now.call.arguments == {"command": "cp sales.csv 60303ae22b99.csv"}


@given(said=st.text(max_size=20))
def test_nothing_but_a_harmless_word_is_put_into_a_call(said):
    (_, step) = with_references(GOAL, [SUM, bash(f"cp sales.csv {HASH}.csv", turn=2)])
    command = resolved(step, [ToolResult(ok=True, output=said)]).call.arguments["command"]
    assert command.removeprefix("cp sales.csv ").removesuffix(".csv") in (HASH, handle(said))
