"""The journal: what was bought is not bought again, what was done is not done again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import CodecError
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm_contracts import ModelResponse, journal_entry
from llmos_workers.kernel import codec

CALL = ToolCall(name="Bash", arguments={"command": "date"}, call_id="toolu_1")
RESULT = ToolResult(ok=True, output="today", exit_code=0)


def response(text="hello"):
    return ModelResponse(
        content=[{"type": "text", "text": text}],
        stop_reason="end_turn",
        usage=Usage(input_tokens=3, output_tokens=4),
        cost_micro=7,
        model="claude-sonnet-5-5",
    )


def test_nothing_paid_twice_a_journaled_response_is_found_by_its_turn():
    journal = RunJournal([journal_entry(response("a"), 0), journal_entry(response("b"), 1)])
    assert (journal.turns, journal.response(0).text, journal.response(1).text) == (2, "a", "b")
    assert journal.response(2) is None


def test_a_finished_call_is_known_to_the_next_run():
    kept: list[bytes] = []
    RunJournal(append=kept.append).finish(3, CALL, RESULT)
    again = RunJournal(kept)
    assert again.result(3, CALL) == RESULT
    assert not again.in_doubt(3, CALL)


@pytest.mark.parametrize(
    ("turn", "call"),
    [
        (4, CALL),
        (3, CALL.model_copy(update={"call_id": "toolu_2"})),
        (3, CALL.model_copy(update={"arguments": {"command": "date -u"}})),
        (3, CALL.model_copy(update={"name": "Read"})),
    ],
)
def test_another_call_gets_nobody_elses_result(turn, call):
    kept: list[bytes] = []
    RunJournal(append=kept.append).finish(3, CALL, RESULT)
    assert RunJournal(kept).result(turn, call) is None


def test_a_call_that_began_and_never_ended_is_in_doubt():
    kept: list[bytes] = []
    journal = RunJournal(append=kept.append)
    journal.intend(0, CALL)
    assert RunJournal(kept).in_doubt(0, CALL)
    journal.finish(0, CALL, RESULT)
    assert not RunJournal(kept).in_doubt(0, CALL)


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=8), st.booleans()), max_size=12))
def test_what_is_written_is_what_is_read(calls):
    kept: list[bytes] = []
    journal = RunJournal(append=kept.append)
    ended: dict[tuple[int, str], bool] = {}
    for turn, text, finishes in calls:
        call = ToolCall(name="Bash", arguments={"command": text}, call_id=text)
        journal.intend(turn, call)
        if finishes:
            journal.finish(turn, call, ToolResult(ok=True, output=text))
        ended[turn, text] = ended.get((turn, text), False) or finishes
    again = RunJournal(kept)
    for (turn, text), finished in ended.items():
        call = ToolCall(name="Bash", arguments={"command": text}, call_id=text)
        assert (again.result(turn, call) is not None) is finished
        assert again.in_doubt(turn, call) is not finished


@pytest.mark.parametrize("entry", [codec.pack({"kind": "dream", "v": 1}), codec.pack([1])])
def test_an_entry_of_another_kind_is_refused(entry):
    with pytest.raises(CodecError):
        RunJournal([entry])
