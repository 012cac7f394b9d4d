"""``llmos backup`` and ``llmos restore``."""

from __future__ import annotations

import shutil

from llmos_workers.kernel import keys, state_copy


def test_a_system_goes_into_a_file_and_comes_back(run, state, tmp_path):
    workspace, file = tmp_path / "workspace", tmp_path / "system.llmos"
    agent = workspace / "agents" / "coder.md"
    agent.parent.mkdir(parents=True)
    agent.write_text("---\nname: coder\n---\n")
    state.set("llmos:one", "1")
    options = ("--workspace", str(workspace))
    made = run(*options, "backup", str(file), "--json")
    assert (made.code, made.json["files"], made.json["private_key"]) == (0, 1, False)
    assert run(*options, "backup", str(file)).code == 2
    checked = run("restore", str(file), "--check", "--json")
    assert checked.json["sound"] is True
    refused = run(*options, "restore", str(file))
    assert refused.code == 2
    assert "--force" in refused.err
    state_copy.wipe(state)
    shutil.rmtree(workspace)
    back = run(*options, "restore", str(file))
    assert back.code == 0, back.err
    assert agent.read_text() == "---\nname: coder\n---\n"
    assert state.get("llmos:one") == b"1"
    assert state.xlen(keys.INDEX_OUTBOX) == 1
    assert "is in" in run(*options, "restore", str(file), "--force").out


def test_a_damaged_file_is_refused(run, state, tmp_path):
    file = tmp_path / "system.llmos"
    assert run("--workspace", str(tmp_path / "w"), "backup", str(file)).code == 0
    file.write_bytes(file.read_bytes()[:-7])
    for arguments in (("--check",), ("--force",)):
        damaged = run("--workspace", str(tmp_path / "w"), "restore", str(file), *arguments)
        assert damaged.code == 1
        assert "damaged" in damaged.err


def test_a_stack_that_is_down_is_saved_and_filled_too(bare_run, tmp_path):
    """Nothing configured, nothing up: the embedded server is started for it."""
    file, one, other = tmp_path / "system.llmos", tmp_path / "one", tmp_path / "other"
    one.mkdir()
    assert bare_run("--workspace", str(one), "backup", str(file)).code == 0
    restored = bare_run("--workspace", str(other), "restore", str(file), "--json")
    assert (restored.code, restored.json["keys"]) == (0, 0)
    assert (other / "state" / "redis").is_dir()
    assert not (one / "state" / "redis" / "server.pid").exists()


def test_a_folder_without_a_system_is_not_backed_up(bare_run, tmp_path):
    refused = bare_run("backup", "system.llmos")
    assert refused.code == 2
    assert "nothing to back up" in refused.err
    assert list(tmp_path.iterdir()) == []
