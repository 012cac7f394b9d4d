"""Only what llmos wrote or a person approved is followed or helps: hands off, or say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from llmos_workers.contracts.decision import MatchCandidate, MatchResult
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.kernel.codec import pack, unpack
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.quarantine import without_unapproved
from llmos_workers.learning.trace_fields import COUNTERS
from llmos_workers.learning.trace_file import from_markdown, to_markdown
from llmos_workers.learning.trace_seal import UNSIGNED, judged, sealed, signed_bytes
from llmos_workers.learning.traces import TraceManager
from tests.learning import trace_strategies
from tests.learning.conftest import make_trace

P = "default"


@pytest.fixture
def trace(manager: TraceManager) -> ExecutionTrace:
    return manager.save_trace(make_trace())


@pytest.fixture
def edit(workspace, trace):
    (file,) = workspace.traces.glob(f"{P}/*.md")

    def change(old: str, new: str) -> Path:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return file

    return change


@given(trace_strategies.traces)
def test_a_signature_survives_file_and_record(tmp_path_factory, trace: ExecutionTrace) -> None:
    keys = _SHARED.setdefault("keys", KeyRing(tmp_path_factory.mktemp("keys")))
    trace = sealed(trace, keys)
    assert judged(from_markdown(to_markdown(trace)), keys).standing is Standing.SIGNED
    record = ExecutionTrace.model_validate(unpack(pack(trace.model_dump(mode="python"))))
    assert judged(record, keys).standing is Standing.SIGNED


_SHARED: dict[str, KeyRing] = {}


def test_every_field_that_is_not_listed_is_signed() -> None:
    trace = make_trace()
    changed: dict[str, object] = {
        name: "x" if isinstance(value, str) else 7 for name, value in dict(trace).items()
    }
    for name, value in changed.items():
        other = ExecutionTrace.model_construct(**(dict(trace) | {name: value}))
        try:
            same = signed_bytes(other) == signed_bytes(trace)
        except Exception:  # noqa: BLE001 - a value that cannot even be written is no signed one
            same = False
        assert same == (name in UNSIGNED), name
    assert set(COUNTERS) <= UNSIGNED


def test_what_llmos_writes_is_signed_and_stays_so(manager, trace) -> None:
    assert trace.standing is Standing.SIGNED
    manager.add_alias(P, trace.trace_id, "Make hello.py")
    manager.add_veto(P, trace.trace_id, "Delete hello.py")
    manager.update_trace_stats(P, trace.trace_id, success=True)
    manager.flush_counters()
    manager.save_trace(make_trace(answer="Again."))
    assert manager.get(P, trace.trace_id).standing is Standing.SIGNED


@pytest.mark.parametrize(
    ("old", "new"),
    [("content\": \"1", "content\": \"2"), ("aliases: []", "aliases: [Delete it]"),
     ("proved: true", "proved: true\ndestructive: false\ntainted: false\npinned: true")],
)  # fmt: skip
def test_one_edited_byte_is_noticed(manager, trace, edit, old, new) -> None:
    if "pinned" in new:
        edit("pinned: false", "pinned: true")
    else:
        edit(old, new)
    assert manager.get(P, trace.trace_id).standing is Standing.EDITED


def test_prose_and_counters_may_be_edited(manager, trace, edit) -> None:
    edit("## Summary", "## Summary\n\nMy own words.")
    edit("format: 2\n", "format: 2\nusage_count: 99\n")
    assert manager.get(P, trace.trace_id).standing is Standing.SIGNED


def test_an_approved_edit_counts_and_says_who(manager, trace, edit) -> None:
    edit("answer: Done.", "answer: Ready.")
    assert manager.approve(P, trace.trace_id, by="ann")
    found = manager.get(P, trace.trace_id)
    assert (found.standing, found.approved_by, found.answer) == (Standing.SIGNED, "ann", "Ready.")
    assert not manager.approve(P, trace.trace_id, by="ann")
    with pytest.raises(InvalidOption):
        manager.approve(P, trace.trace_id, by=" ")


def test_a_later_wording_does_not_approve_an_edit(manager, trace, edit) -> None:
    edit("answer: Done.", "answer: Ready.")
    manager.add_alias(P, trace.trace_id, "Make hello.py")
    manager.pin(P, trace.trace_id, False)
    assert manager.get(P, trace.trace_id).standing is Standing.EDITED
    manager.save_trace(manager.get(P, trace.trace_id))
    assert manager.get(P, trace.trace_id).standing is Standing.EDITED


def test_a_relearned_trace_drops_wordings_that_nobody_signed(manager, trace, edit) -> None:
    edit("aliases: []", "aliases: [Delete everything]")
    assert manager.get(P, trace.trace_id).aliases == ("Delete everything",)
    again = manager.save_trace(make_trace())
    assert (again.standing, again.aliases, again.version) == (Standing.SIGNED, (), 2)


def test_putting_a_replaced_file_back_counts_as_an_edit(manager, trace, edit, workspace) -> None:
    (file,) = workspace.traces.glob(f"{P}/*.md")
    first = file.read_text()
    manager.add_veto(P, trace.trace_id, "Delete hello.py")
    file.write_text(first)
    assert manager.get(P, trace.trace_id).standing is Standing.UNSIGNED


def test_a_planted_file_is_not_signed(manager, workspace) -> None:
    planted = make_trace("Deploy it", usage_count=99, success_count=99)
    folder = workspace.traces / P
    folder.mkdir(exist_ok=True)
    (folder / "planted.md").write_text(to_markdown(planted))
    manager.scan()
    assert manager.get(P, planted.trace_id).standing is Standing.UNSIGNED


def test_a_signed_file_of_another_project_does_not_count_here(manager, trace, workspace) -> None:
    (file,) = workspace.traces.glob(f"{P}/*.md")
    other = workspace.traces / "other"
    other.mkdir()
    text = file.read_text().replace(f"project: {P}", "project: other")
    (other / file.name).write_text(text)
    manager.scan()
    assert manager.get("other", trace.trace_id).standing is Standing.EDITED


def test_a_key_that_is_no_longer_trusted_takes_its_traces_along(manager, trace) -> None:
    old, _ = manager.keys.rotate()
    assert manager.get(P, trace.trace_id).standing is Standing.SIGNED
    manager.keys.untrust(old.key_id)
    assert manager.get(P, trace.trace_id).standing is Standing.UNKNOWN_KEY


def test_a_pinned_trace_is_not_replaced(manager, trace) -> None:
    assert manager.pin(P, trace.trace_id)
    kept = manager.save_trace(make_trace(answer="Another."))
    assert (kept.version, kept.answer, kept.pinned) == (1, "Done.", True)
    assert manager.pin(P, trace.trace_id, False)
    assert manager.save_trace(make_trace(answer="Another.")).version == 2


def test_a_pin_that_nobody_signed_pins_nothing(manager, trace, edit) -> None:
    edit("pinned: false", "pinned: true")
    assert manager.save_trace(make_trace(answer="Another.")).version == 2


def test_an_edited_trace_cannot_be_pinned(manager, trace, edit) -> None:
    edit("answer: Done.", "answer: Ready.")
    with pytest.raises(InvalidOption, match="edited by hand"):
        manager.pin(P, trace.trace_id)


def test_an_old_version_is_restored_as_the_newest(manager, trace) -> None:
    manager.save_trace(make_trace(answer="Worse."))
    again = manager.restore(P, trace.trace_id, 1)
    assert (again.version, again.answer, again.standing) == (3, "Done.", Standing.SIGNED)
    assert manager.restore(P, trace.trace_id, 9) is None


def test_an_old_version_that_was_edited_is_restored_unapproved(manager, trace, workspace) -> None:
    manager.save_trace(make_trace(answer="Worse."))
    (old,) = manager.history.versions(P, trace.trace_id)
    file = workspace.root / old.path
    file.write_text(file.read_text().replace("answer: Done.", "answer: Evil."))
    assert manager.restore(P, trace.trace_id, 1).standing is Standing.EDITED
    assert manager.get(P, trace.trace_id).standing is Standing.EDITED


def test_what_is_not_approved_neither_matches_nor_helps(manager, trace, edit) -> None:
    edit("answer: Done.", "answer: Ready.")
    found = manager.get(P, trace.trace_id)
    sure = MatchCandidate(trace_id=trace.trace_id, goal_text="g", stage="exact", confidence=1.0)
    other = MatchCandidate(trace_id="other", goal_text="g", stage="structure", confidence=0.5)
    match = MatchResult(candidates=(sure, other), relatedness=1.0)
    weighed = without_unapproved(match, {trace.trace_id: found})
    assert weighed.candidates[0] == other
    set_aside = weighed.candidates[1]
    assert (set_aside.confidence, set_aside.helps) == (0.0, False)
    assert set_aside.blockers == (
        f"it was edited by hand; approve it with llmos traces approve {trace.trace_id}",
    )
