"""Packs: the same bytes for the same traces, and nothing in one that its maker did not sign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import InvalidOption, LLMOSError, MalformedFile
from llmos_workers.contracts.trace import Standing
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning import trace_pack
from llmos_workers.learning.trace_file import to_markdown
from llmos_workers.learning.trace_pack import _entry, _line, as_imported, read_pack, write_pack
from llmos_workers.learning.trace_seal import sealed
from tests.learning.conftest import make_trace


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "theirs")


def signed(keys: KeyRing, goal: str = "Write hello.py", **changes):
    return sealed(make_trace(goal, **changes), keys)


def forged(keys: KeyRing, texts, entries=None, **manifest) -> bytes:
    """A pack with a good signature over whatever it says."""
    head = _line({"format": trace_pack.FORMAT, "version": 1, "key": keys.own().text,
                  "traces": entries or []} | manifest)  # fmt: skip
    lines = [head, _line({"signature": keys.sign("pack", head)}), *map(_line, texts)]
    return b"\n".join(lines) + b"\n"


def with_trace(keys: KeyRing, trace, times: int = 1) -> bytes:
    text = to_markdown(trace)
    return forged(keys, [text] * times, [_entry(trace, text)] * times)


def test_a_pack_is_the_same_bytes_whatever_the_order_and_the_use(keys):
    one, other = signed(keys), signed(keys, "Another")
    used = one.model_copy(update={"usage_count": 7, "revision": 9, "last_used": "2026-01-01"})
    assert write_pack([one, other], keys) == write_pack([other, used], keys)


def test_what_comes_back_is_what_went_in_and_not_proved(keys, theirs):
    trace = signed(theirs, aliases=("Make hello.py",), usage_count=5)
    pack = read_pack(write_pack([trace], theirs), keys)
    assert (pack.key.key_id, pack.trusted) == (theirs.own().key_id, False)
    (found,) = pack.traces
    assert (found.goal_text, found.aliases, found.steps) == (
        trace.goal_text, trace.aliases, trace.steps
    )  # fmt: skip
    assert (found.usage_count, found.signature) == (0, "")
    stored = as_imported(found, pack, "shop")
    assert (stored.proved, stored.project, stored.imported_from) == (
        False, "shop", theirs.own().key_id
    )  # fmt: skip
    keys.trust(theirs.own())
    assert read_pack(write_pack([trace], theirs), keys).trusted


def test_only_what_is_signed_is_exported(keys):
    with pytest.raises(InvalidOption, match="not checked"):
        write_pack([make_trace()], keys)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_changed_byte_is_read(keys, data):
    good = bytearray(_SHARED.setdefault("pack", write_pack([signed(keys)], keys)))
    ring = _SHARED.setdefault("keys", keys)
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedFile):
        read_pack(bytes(good), ring)


_SHARED: dict = {}


@given(st.binary(max_size=300))
def test_noise_is_refused_in_words(noise):
    with pytest.raises(LLMOSError):
        read_pack(noise, KeyRing(Path("/nonexistent")))


def test_cut_and_lengthened_packs_are_refused(keys):
    good = write_pack([signed(keys), signed(keys, "Another")], keys)
    lines = good.splitlines(keepends=True)
    for bad in (good[:-1], b"".join(lines[:-1]), good + lines[-1], b"\n".join(lines), b"",
                b"\x1f\x8b" + good, b"PK\x03\x04" + good):  # fmt: skip
        with pytest.raises(MalformedFile):
            read_pack(bad, keys)


@pytest.mark.parametrize(
    "changes",
    [{"trace_id": "../../../etc/cron.d/x"}, {"trace_id": "a/b"}, {"project": "../up"},
     {"project": ".hidden"}, {"trace_id": ""}],
)  # fmt: skip
def test_names_that_lead_out_are_refused_though_signed(keys, changes):
    with pytest.raises(MalformedFile):
        read_pack(with_trace(keys, make_trace(**changes)), keys)


def test_two_of_one_name_are_refused(keys):
    with pytest.raises(MalformedFile, match="one id"):
        read_pack(with_trace(keys, make_trace(), times=2), keys)
    with pytest.raises(MalformedFile, match="one id"):
        write_pack([signed(keys), signed(keys, answer="Other.")], keys)


def test_what_is_too_large_is_refused_before_it_is_parsed(keys, monkeypatch):
    good = write_pack([signed(keys), signed(keys, "Another")], keys)
    monkeypatch.setattr(trace_pack, "MAX_BYTES", len(good) - 1)
    monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("parsed"))
    with pytest.raises(MalformedFile, match="at most"):
        read_pack(good, keys)


def test_more_traces_than_a_pack_may_have_are_refused(keys, monkeypatch):
    good = write_pack([signed(keys), signed(keys, "Another")], keys)
    monkeypatch.setattr(trace_pack, "MAX_TRACES", 1)
    with pytest.raises(MalformedFile):
        read_pack(good, keys)
    with pytest.raises(InvalidOption):
        write_pack([signed(keys), signed(keys, "Another")], keys)


@pytest.mark.parametrize(
    ("texts", "manifest"),
    [(["no markdown"], {"traces": [{}]}), ([7], {"traces": [{}]}), (["a"], {"traces": {}}),
     ([], {"extra": 1}), ([], {"version": 2}), ([], {"key": "ed25519:AAAA"}), (["a"], {}),
     (["\ud800"], {"traces": [{}]})],
)  # fmt: skip
def test_other_forms_are_refused_though_signed(keys, texts, manifest):
    with pytest.raises(MalformedFile):
        read_pack(forged(keys, texts, **manifest), keys)


def test_deep_nesting_is_refused(keys):
    with pytest.raises(MalformedFile):
        read_pack(b"[" * 200_000 + b"\n{}\n\n", keys)


def test_a_signature_of_a_trace_is_none_of_a_pack(keys):
    head, _, *rest = write_pack([signed(keys)], keys).split(b"\n")
    fake = _line({"signature": keys.sign("trace", head)})
    with pytest.raises(MalformedFile, match="does not hold"):
        read_pack(b"\n".join([head, fake, *rest]), keys)


def test_imports_of_a_stranger_wait_and_those_of_friends_are_signed(manager, theirs):
    pack = read_pack(write_pack([signed(theirs)], theirs), manager.keys)
    trace = as_imported(pack.traces[0], pack, None)
    assert manager.save_imported(trace, vouched=False).standing is Standing.UNSIGNED
    assert manager.get("default", trace.trace_id).standing is Standing.UNSIGNED
    assert manager.approve("default", trace.trace_id, by="ann")
    friend = as_imported(pack.traces[0], pack, "shop")
    assert manager.save_imported(friend, vouched=True).standing is Standing.SIGNED
    assert not manager.get("shop", trace.trace_id).proved
