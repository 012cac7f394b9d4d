"""Keys: made once, private, trusted by name, replaced without losing what was signed."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import ConfigError, InvalidOption, MalformedFile
from llmos_workers.kernel.signing import KeyRing, PublicKey, Verdict


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def test_a_key_is_made_at_first_need_and_only_its_owner_may_read_it(keys: KeyRing) -> None:
    assert not keys.there
    signature = keys.sign("trace", b"content")
    assert keys.key_file.stat().st_mode & 0o777 == 0o600
    assert keys.check("trace", b"content", signature) is Verdict.GOOD
    assert [key.key_id for key in keys.trusted()] == [keys.own().key_id]


def test_what_was_not_signed_so_is_told_apart(keys: KeyRing, tmp_path: Path) -> None:
    signature = keys.sign("trace", b"content")
    assert keys.check("trace", b"other", signature) is Verdict.WRONG
    assert keys.check("pack", b"content", signature) is Verdict.WRONG
    assert keys.check("trace", b"content", "") is Verdict.MISSING
    stranger = KeyRing(tmp_path / "other")
    assert stranger.check("trace", b"content", signature) is Verdict.UNKNOWN_KEY


@given(st.text(max_size=80), st.integers(0, 63))
def test_no_other_text_passes_for_a_signature(tmp_path_factory, noise: str, at: int) -> None:
    keys = _SHARED.setdefault("keys", KeyRing(tmp_path_factory.mktemp("keys")))
    good = keys.sign("trace", b"content")
    assert keys.check("trace", b"content", noise) is not Verdict.GOOD
    head, _, data = good.rpartition(":")
    raw = bytearray(base64.b64decode(data))
    raw[at] ^= 1
    flipped = f"{head}:{base64.b64encode(raw).decode()}"
    assert keys.check("trace", b"content", flipped) is Verdict.WRONG


_SHARED: dict[str, KeyRing] = {}


def test_many_processes_at_once_make_one_key(tmp_path: Path) -> None:
    rings = [KeyRing(tmp_path / "keys") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda ring: ring.own().key_id, rings))
    assert len(ids) == 1
    assert [file.name for file in (tmp_path / "keys").iterdir() if file.is_file()] == [
        "signing.key"
    ]


def test_after_a_rotation_the_old_signatures_count_until_the_key_is_untrusted(
    keys: KeyRing,
) -> None:
    elsewhere = KeyRing(keys.folder)
    old_signature = keys.sign("trace", b"a")
    assert elsewhere.check("trace", b"a", old_signature) is Verdict.GOOD
    old, new = keys.rotate()
    assert (keys.own().key_id, old.key_id != new.key_id) == (new.key_id, True)
    for ring in (keys, elsewhere):
        assert ring.check("trace", b"a", old_signature) is Verdict.GOOD
        assert ring.check("trace", b"b", keys.sign("trace", b"b")) is Verdict.GOOD
    assert keys.untrust(old.key_id)
    assert elsewhere.check("trace", b"a", old_signature) is Verdict.UNKNOWN_KEY
    assert not keys.untrust(old.key_id)


def test_a_lost_key_is_made_anew_and_what_it_signed_still_counts(keys: KeyRing) -> None:
    signature = keys.sign("trace", b"a")
    keys.key_file.unlink()
    assert keys.sign("trace", b"a") != signature
    assert keys.check("trace", b"a", signature) is Verdict.GOOD


def test_the_key_that_signs_is_not_untrusted(keys: KeyRing) -> None:
    with pytest.raises(InvalidOption, match="signs here"):
        keys.untrust(keys.own().key_id)
    with pytest.raises(InvalidOption, match="no key id"):
        keys.untrust("../signing")


def test_keys_travel_as_text(keys: KeyRing, tmp_path: Path) -> None:
    friend = KeyRing(tmp_path / "friend")
    signature = friend.sign("pack", b"x")
    keys.trust(PublicKey.parse(friend.own().text, name="the friends"))
    assert keys.check("pack", b"x", signature) is Verdict.GOOD
    assert "the friends" in [key.name for key in keys.trusted()]
    for text in ("", "ed25519:", "ed25519:AAAA", "rsa:" + "A" * 44, friend.own().text + "\0"):
        with pytest.raises(InvalidOption):
            PublicKey.parse(text)


def test_files_that_are_no_trusted_keys_count_for_nothing(
    keys: KeyRing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = keys.own()
    friend = KeyRing(tmp_path / "friend").own()
    folder = keys.folder / "trusted"
    (folder / "broken.json").write_text("{")
    (folder / "list.json").write_text("[]")
    (folder / "0123456789abcdef.json").write_text(json.dumps({"public_key": friend.text}))
    with caplog.at_level(logging.WARNING):
        assert [key.key_id for key in keys.trusted()] == [own.key_id]
    assert "counts for nothing" in caplog.text


def test_a_configured_key_is_used_and_never_made_or_replaced(tmp_path: Path) -> None:
    file = tmp_path / "secret" / "key.pem"
    keys = KeyRing(tmp_path / "keys", key_file=file)
    with pytest.raises(ConfigError, match="is not there"):
        keys.sign("trace", b"a")
    file.parent.mkdir()
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", file], check=True)
    assert keys.check("trace", b"a", keys.sign("trace", b"a")) is Verdict.GOOD
    with pytest.raises(InvalidOption, match="does not replace it"):
        keys.rotate()


def test_a_broken_key_is_told_without_its_content(
    keys: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    keys.folder.mkdir()
    keys.key_file.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(MalformedFile) as told:
        keys.sign("trace", b"a")
    assert "c2VjcmV0" not in str(told.value) + caplog.text
    assert keys.check("trace", b"a", "ed25519:0123456789abcdef:AAAA") is Verdict.UNKNOWN_KEY
