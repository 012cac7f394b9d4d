"""What a release stored, the next one reads; and what the next one adds, this one bears."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from llmos_workers.contracts.approvals import Approval
from llmos_workers.contracts.audits import AuditVerdict
from llmos_workers.contracts.base import Record, of_known, unknown_fields
from llmos_workers.contracts.commits import Commit
from llmos_workers.contracts.errors import CodecError, MalformedFile, NewerFormat
from llmos_workers.contracts.feedback import Feedback
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.trace import TRACE_FORMAT, ExecutionTrace
from llmos_workers.evolution.agent_history import AgentVersion
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm_contracts import read_journal_entry
from llmos_workers.kernel.codec import pack, unpack
from llmos_workers.kernel.goal_codec import read_known, read_record, record_fields
from llmos_workers.kernel.schedules import Schedule
from llmos_workers.learning.trace_file import from_markdown, to_markdown
from llmos_workers.learning.verdicts import StoredVerdict
from tests.compat import formats

RELEASES = [formats.FOLDER / "before-schema.json", formats.OWN]
NEXT = {"next_field": {"said": "by the next release"}}
MODELS: dict[str, type[Record]] = {
    "commit": Commit,
    "approval": Approval,
    "schedule": Schedule,
    "verdict": StoredVerdict,
    "audit": AuditVerdict,
    "feedback": Feedback,
}


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def stored(request) -> dict[str, Any]:
    """What a release wrote."""
    return json.loads(request.param.read_text(encoding="utf-8"))


def as_next(value: Any, keep: Callable[[str], bool] = lambda _name: True) -> Any:
    """The same as the next release would write it: another field in every object.

    Objects under names that ``keep`` refuses hold data of others and stay as they are.
    """
    if isinstance(value, dict):
        return {k: as_next(v, keep) if keep(k) else v for k, v in value.items()} | NEXT
    return [as_next(each, keep) for each in value] if isinstance(value, list | tuple) else value


def _ours(name: str) -> bool:
    return name not in ("arguments", "metadata", "headers", "slots", "content", "input", "evidence")


def _goal_fields(fields: dict[str, str], change: Callable[[Any], Any]) -> dict[bytes, bytes]:
    """A goal's hash with its JSON parts changed."""
    changed = {
        name: json.dumps(change(json.loads(text))) if text.startswith("{") else text
        for name, text in fields.items()
    }
    return {name.encode(): text.encode() for name, text in changed.items()}


def test_this_release_writes_what_its_file_holds(stored, request):
    """A format that changes without notice fails here: make a file for the new release."""
    if request.node.callspec.id == formats.OWN.stem:
        assert json.loads(json.dumps(formats.written())) == stored


def test_a_goal_is_read(stored):
    record = read_record(formats.a_goal().goal_id, _goal_fields(stored["goal"], lambda same: same))
    assert record == formats.a_goal()


def test_a_goal_of_the_next_release_is_read_and_written_whole(stored):
    fields = _goal_fields(stored["goal"], lambda data: as_next(data, _ours))
    record = read_record(formats.a_goal().goal_id, fields | {b"next_field": b"1"})
    assert record.decision.match.best.confidence == 1.0
    assert record.outcome.usage + record.outcome.usage == Usage(
        **{n: 2 * v for n, v in formats.USAGE.model_dump().items()}
    )
    again = record_fields(record)
    for part in ("options", "envelope", "decision", "outcome", "flight_failed"):
        assert json.loads(again[part]) == json.loads(fields[part.encode()]), part


def test_a_goal_of_a_later_format_is_refused_with_what_to_do(stored):
    fields = _goal_fields(stored["goal"], lambda same: same) | {b"v": b"2"}
    with pytest.raises(NewerFormat, match=r"format 2; this release reads up to 1\. Upgrade"):
        read_record("g1", fields)
    assert read_known("g1", fields) is None
    with pytest.raises(CodecError, match="unknown version"):
        read_record("g1", fields | {b"v": b"0"})


@pytest.mark.parametrize("change", [lambda same: same, lambda data: as_next(data, _ours)])
def test_a_journal_is_read(stored, change):
    entries = [base64.b64decode(each) for each in stored["journal"]]
    entries = [pack(change(unpack(each))) for each in entries]
    journal = RunJournal(entries)
    call = formats.CALL.model_copy(update={"call_id": "toolu_1"})
    assert journal.turns == 1
    assert journal.response(0).usage.total_tokens == formats.USAGE.total_tokens
    assert journal.result(0, call).writes[0].path == "hello.py"
    assert journal.done[0].call.digest() == formats.CALL.digest()
    assert journal.told == ("house-rules@0a1b",)
    assert not journal.in_doubt(0, call)


def test_a_journal_entry_of_a_later_format_or_kind_is_not_guessed(stored):
    entries = [unpack(base64.b64decode(each)) for each in stored["journal"]]
    for entry in entries:
        with pytest.raises(NewerFormat, match="format 2"):
            RunJournal([pack(entry | {"v": 2})])
    with pytest.raises(NewerFormat, match="'next_kind'"):
        RunJournal([pack({"v": 1, "kind": "next_kind"})])
    with pytest.raises(NewerFormat):
        read_journal_entry(pack(entries[0] | {"v": 2}))
    with pytest.raises(CodecError):
        RunJournal([pack({"v": 1})])


@pytest.mark.parametrize("kind", MODELS)
def test_a_record_is_read_and_kept_whole_when_it_is_written_again(stored, kind):
    model = MODELS[kind]
    assert model.model_validate(stored[kind]).model_dump(mode="json") == stored[kind]
    newer = as_next(stored[kind], _ours)
    read = model.model_validate_json(json.dumps(newer))
    assert unknown_fields(read)
    assert json.loads(read.model_copy().model_dump_json()) == newer


def test_a_trace_is_read_from_record_and_file(stored):
    content = unpack(base64.b64decode(stored["trace"]["content"]))
    counted = {n: getattr(formats.a_trace(), n) for n in ("usage_count", "success_count")}
    read = ExecutionTrace.model_validate(content)
    assert read.steps == formats.a_trace().steps
    assert ExecutionTrace.model_validate(content | counted).goal_text == formats.a_trace().goal_text
    trace = from_markdown(stored["trace_file"])
    assert trace.model_copy(update={"format": TRACE_FORMAT}) == formats.a_trace()
    again = from_markdown(to_markdown(trace, counters=True))
    assert again == formats.a_trace()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("\nproject: shop\n", "\nproject: shop\nnext_field: x\n", "next_field"),
        ('"ok": true', '"next_field": 1', "next_field"),
        ("- name: number\n", "- name: number\n  next_field: 1\n", "slots.next_field"),
    ],
)
def test_what_people_write_stays_strict(stored, old, new, named):
    text = stored["trace_file"].replace('"arguments": {', '"ok": true,\n    "arguments": {', 1)
    assert old in text
    with pytest.raises(MalformedFile, match=f"unknown field '{named}'"):
        from_markdown(text.replace(old, new, 1))


def test_a_dataclass_takes_what_it_knows():
    facts = {"number": 1, "next_field": 2}
    with pytest.raises(TypeError):
        of_known(AgentVersion, facts)
    known = dict.fromkeys(AgentVersion.__dataclass_fields__, "x")
    assert of_known(AgentVersion, known | facts) == AgentVersion(**(known | {"number": 1}))


def test_unknown_fields_are_found_at_any_depth():
    newer = as_next(formats.a_goal().model_dump(mode="json"), _ours)
    found = unknown_fields(GoalRecord.model_validate(newer))
    assert {"next_field", "options.next_field", "decision.match.candidates.next_field"} <= set(
        found
    )
    assert unknown_fields(formats.a_goal()) == ()
