"""llmos keys: what is shown, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_workers.kernel.signing import KeyRing


@pytest.fixture
def keys(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    return KeyRing(tmp_path / "w" / "state" / "keys")


def test_keys_are_made_shown_rotated_and_never_given_away(run, keys):
    assert "no key yet" in run("keys", "show").out
    assert not keys.there
    made = run("keys", "create", "--json").json
    assert made["what"] == "made"
    assert run("keys", "create", "--json").json["what"] == "already there"
    secret = keys.key_file.read_text().splitlines()[1]
    shown = run("keys", "show")
    assert made["key_id"] in shown.out
    rotated = run("keys", "rotate")
    assert rotated.code == 0
    assert f"{made['key_id']}, still trusted" in rotated.out
    data = run("keys", "show", "--json").json
    assert [key["key_id"] for key in data["trusted"]] == [made["key_id"]]
    assert secret not in shown.out + rotated.out + str(data)


def test_keys_of_others_are_trusted_by_name_until_they_are_not(run, keys, tmp_path):
    friend = KeyRing(tmp_path / "friend").own()
    added = run("keys", "trust", friend.text, "--name", "the friends", "--json").json
    assert added["key_id"] == friend.key_id
    assert "the friends" in run("keys", "show").out
    assert "no longer trusted" in run("keys", "untrust", friend.key_id).out
    assert run("keys", "untrust", friend.key_id, "--json").json["was_trusted"] is False
    assert run("keys", "trust", "ed25519:AAAA").code == 2
    own = keys.own().key_id
    refused = run("keys", "untrust", own)
    assert (refused.code, "llmos keys rotate" in refused.err) == (2, True)


def test_the_key_of_an_app_counts_for_goals_of_one_project_and_nothing_else(run, keys, tmp_path):
    app = KeyRing(tmp_path / "app").own()
    of = ("--app-of", "tools")
    assert run("keys", "trust", app.text, "--name", "the web shop", *of).code == 0
    shown = run("keys", "show", "--json").json
    assert [key["key_id"] for key in shown["apps"]["tools"]] == [app.key_id]
    assert (shown["trusted"], keys.trusted()) == ([], [])
    assert "the web shop" in run("keys", "show").out
    assert run("keys", "untrust", app.key_id, "--json").json["was_trusted"] is False
    assert run("keys", "untrust", app.key_id, *of, "--json").json["was_trusted"] is True
    assert run("keys", "trust", app.text, "--app-of", "../up").code == 2


def test_a_private_key_that_others_may_read_is_told(run, keys):
    run("keys", "create")
    assert "warning" not in run("keys", "show").out
    keys.key_file.chmod(0o644)
    assert "chmod 600" in run("keys", "show").out
