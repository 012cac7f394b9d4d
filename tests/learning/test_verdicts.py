"""Verdicts and the judges' records, kept in Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.kernel.lease import Lease
from llmos_workers.learning.verdicts import JudgeRecord, StoredVerdict, Verdicts, calls_digest

SIGNATURE = "f" * 16


def trace_of(command="ls"):
    step = TraceStep(call=ToolCall(name="Bash", arguments={"command": command}))
    return ExecutionTrace(
        trace_id="0" * 16, goal_signature="0" * 16, goal_text="List", steps=(step,)
    )


def said(trace, answer="yes", judge="test/model"):
    return StoredVerdict(judge=judge, answer=answer, calls=calls_digest(trace), cost_micro=90)


@pytest.fixture
def verdicts(state):
    return Verdicts(state)


def test_the_first_verdict_on_a_wording_stands(verdicts):
    trace = trace_of()
    assert verdicts.keep(trace, SIGNATURE, said(trace)).answer == "yes"
    assert verdicts.keep(trace, SIGNATURE, said(trace, "no")).answer == "yes"
    record = verdicts.record("test/model")
    assert (record.yes, record.no, record.cost_micro) == (1, 0, 90)


def test_a_verdict_holds_for_the_calls_that_were_judged(verdicts):
    verdicts.keep(trace_of(), SIGNATURE, said(trace_of()))
    healed = trace_of("ls -a")
    assert verdicts.get(healed, SIGNATURE) is None
    assert not verdicts.label(healed, SIGNATURE, right=True)
    assert verdicts.keep(healed, SIGNATURE, said(healed, "no")).answer == "no"


def test_a_label_counts_once_and_a_later_word_replaces_it(verdicts):
    trace = trace_of()
    verdicts.keep(trace, SIGNATURE, said(trace))
    assert verdicts.label(trace, SIGNATURE, right=True)
    assert verdicts.label(trace, SIGNATURE, right=True)
    assert verdicts.record("test/model").right == 1
    verdicts.label(trace, SIGNATURE, right=False)
    record = verdicts.record("test/model")
    assert (record.right, record.wrong) == (0, 1)


def test_a_no_where_yes_was_right_is_a_miss_and_no_false_yes(verdicts):
    trace = trace_of()
    verdicts.keep(trace, SIGNATURE, said(trace, "no"))
    assert not verdicts.label(trace, SIGNATURE, right=False)
    assert verdicts.label(trace, SIGNATURE, right=True)
    record = verdicts.record("test/model")
    assert (record.missed, record.labelled) == (1, 0)


def test_a_run_that_lost_its_lease_stores_no_verdict(verdicts):
    trace = trace_of()
    with pytest.raises(LeaseLost):
        verdicts.keep(trace, SIGNATURE, said(trace), lease=Lease("nobody", "me", 3, 0.0))
    assert verdicts.get(trace, SIGNATURE) is None
    assert verdicts.records() == []


def test_one_at_a_time_asks_about_a_wording(verdicts):
    trace = trace_of()
    assert verdicts.claim(trace, SIGNATURE, "goal-1")
    assert verdicts.claim(trace, SIGNATURE, "goal-1")
    assert not verdicts.claim(trace, SIGNATURE, "goal-2")
    verdicts.give_up(trace, SIGNATURE, "goal-2")
    assert not verdicts.claim(trace, SIGNATURE, "goal-2")
    verdicts.give_up(trace, SIGNATURE, "goal-1")
    assert verdicts.claim(trace, SIGNATURE, "goal-2")


def test_a_judge_without_a_record_is_not_trusted():
    assert not JudgeRecord("new").trusted(0.01)
    assert not JudgeRecord("new", yes=10_000).trusted(0.01)


@pytest.mark.parametrize(
    ("right", "wrong", "trusted"),
    [(298, 0, False), (299, 0, True), (299, 1, False), (472, 1, True)],
)
def test_trust_begins_where_the_bound_is_within_the_allowed_error(right, wrong, trusted):
    assert JudgeRecord("j", right=right, wrong=wrong).trusted(0.01) is trusted


@given(st.integers(0, 2_000), st.integers(0, 20), st.floats(0.001, 0.3))
def test_another_wrong_word_never_earns_trust(right, wrong, allowed):
    before = JudgeRecord("j", right=right, wrong=wrong).trusted(allowed)
    after = JudgeRecord("j", right=right, wrong=wrong + 1).trusted(allowed)
    assert before or not after
