"""A run ends because of what its last calls said: a replay only when they say it again."""

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.execution.recording import steady_digest
from tests.flow.test_checks import many, renew
from tests.flow.test_prove import DONE, GOAL, bash, learn, put
from tests.support.script import calls, use

LOG = put("log.txt", "looked\n")


@pytest.mark.parametrize(
    ("look", "change"),
    [
        (calls(use("Glob", 2, pattern="**/*.xlsx")), renew("in/a.xlsx")),
        (calls(use("Grep", 2, pattern="TODO")), renew("a.py", "# TODO\n")),
        (bash("test -e Makefile && echo yes || echo no", 2), renew("Makefile")),
        (bash("ls | wc -l", 2), many),
    ],
    ids=["glob", "grep", "is it there", "a count"],
)
def test_a_look_after_which_nothing_was_to_be_done_is_taken_again(flow, look, change):
    learn(flow, LOG, look)
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    change(flow.area)
    flow.model(DONE)
    outcome = flow.run(GOAL)
    assert outcome.mode is Mode.MIXED
    assert "nothing more was to be done" in outcome.reason


def test_what_says_something_else_each_time_decides_nothing(flow):
    trace = learn(flow, LOG, bash("od -An -N8 -tx8 /dev/urandom; ls", 2))
    assert (trace.proved, trace.steps[-1].said) == (True, "")
    assert flow.run(GOAL).mode is Mode.FOLLOWER


def test_a_check_of_what_was_made_may_be_told_at_another_time(flow):
    learn(flow, LOG, bash("date; echo ran in 0.$RANDOM s", 2))
    assert flow.run(GOAL).mode is Mode.FOLLOWER


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("3 passed in 0.02s", "3 passed in 0.11s", True),
        ("-rw-r--r-- 1 a a 5 Nov 22 12:01 x", "-rw-r--r-- 1 a a 5 Nov 23 09:44 x", True),
        ("Sun Nov 22 12:01:02 UTC 2026", "Mon Nov 23 13:01:59 UTC 2026", True),
        ("Monday", "Tuesday", False),
        ("2026-11-22 done", "2026-11-23 done", True),
        ("3 passed", "4 passed", False),
        ("5 files", "6 files", False),
        ("version 3.11", "version 3.12", False),
    ],
)
def test_times_are_no_difference(one, other, same):
    assert (steady_digest(one) == steady_digest(other)) is same
