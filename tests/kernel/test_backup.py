"""Backups: of one instant, whole or refused, and back to the last byte."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading

import pytest
import zstandard

from llmos_workers.contracts.errors import (
    DataError,
    IncompatibleSchema,
    InfrastructureError,
    InvalidOption,
    NewerFormat,
)
from llmos_workers.kernel import keys, state_copy
from llmos_workers.kernel.backup import TRAILER, write_backup
from llmos_workers.kernel.backup_files import Chosen, checked, files_of
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.restore import RESTORING, restore_backup, verify
from llmos_workers.kernel.schema import Schema
from llmos_workers.kernel.workspace import Workspace
from tests.kernel.economy_support import an_economy, ledger_sum, reserve, sums, used


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    """One with a file of each sort."""
    made = Workspace(tmp_path / "workspace").ensure()
    for path, text in {
        "agents/coder.md": "---\nname: coder\n---\n",
        "memories/traces/shop/hello-1.md": "a trace",
        "memories/traces/shop/.hello.x.staged": "half",
        "memories/facts/shop/one.md": "a fact",
        "projects/shop/output/out.csv": "1,2\n",
        "projects/shop/state/objects/ab/abc": "former",
        "projects/shop/state/stages/g.1/area/x": "half",
        "projects/shop/state/commits.jsonl": "{}\n",
        "tools/generated/t_1.py": "def t(): ...\n",
        "state/keys/signing.key": "secret",
        "state/keys/trusted/k.json": "{}",
        "state/counters/shop.json": "{}",
        "state/redis/appendonly.aof": "data",
        "state/logs/llm.log": "said",
        "state/embedded.json": "{}",
        ".git/config": "[core]",
        ".env": "KEY=1",
        ".gitignore": "state/\n",
    }.items():
        made.write_atomic(path, text.encode())
    return made


KEPT = [
    ".gitignore", "agents/coder.md", "memories/facts/shop/one.md",
    "memories/traces/shop/hello-1.md", "projects/shop/output/out.csv",
    "projects/shop/state/commits.jsonl", "state/counters/shop.json", "state/keys/trusted/k.json",
    "tools/generated/t_1.py",
]  # fmt: skip


def fill(state) -> None:
    """A key of each type, with what is hard about it."""
    state.set("llmos:string", b"\x00\xff text")
    state.set("llmos:soon", "x", px=600_000)
    state.rpush("llmos:list", *[f"{n}" for n in range(2_500)])
    state.hset("llmos:hash", mapping={b"\xffname": b"\x00", "n": "1"})
    state.sadd("llmos:set", *[f"{n}" for n in range(1_500)])
    state.zadd(
        "llmos:zset", {"third": 1 / 3, "big": 1.7e308, "inf": float("inf"), "now": 1e9 + 0.1}
    )
    for n in range(3):
        state.xadd("llmos:stream", {"n": n, b"\xff": b"\x00"})
    state.xdel("llmos:stream", state.xrange("llmos:stream")[-1][0])
    state.xadd("llmos:empty", {"n": 1})
    state.xtrim("llmos:empty", 0)
    state.set(keys.heartbeat("w"), "{}")
    state.set(keys.RECOVERY_LOCK, "x")
    state.set("other:key", "not ours")


def values(state) -> dict[bytes, object]:
    """What is there, without the order of those that have none."""
    found = {}
    for key in state_copy.read_all(state):
        value = key.value
        if key.kind == "hash":
            value = dict(zip(value[::2], value[1::2], strict=True))
        found[key.name] = (key.kind, sorted(value) if key.kind == "set" else value)
    return found


def test_every_type_comes_back_as_it_was(state):
    fill(state)
    before, file = values(state), io.BytesIO()
    assert keys.heartbeat("w").encode() not in before
    assert keys.RECOVERY_LOCK.encode() not in before
    state_copy.dump(state_copy.read_all(state), file)
    assert state_copy.wipe(state) == len(before) + 2
    assert state.get("other:key") == b"not ours"
    file.seek(0)
    assert state_copy.write_all(state, state_copy.load(file)) == len(before)
    assert values(state) == before
    assert 500_000 < state.pttl("llmos:soon") <= 600_000
    assert state.ttl("llmos:string") == -1
    newest = state.xadd("llmos:empty", {"n": 2})
    assert newest > before[b"llmos:empty"][1][0]


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x81\xa6format\x02", b"\x81\xa6format\x01\x93\x01\x02\x03"]
)
def test_a_part_that_is_none_is_refused(data):
    with pytest.raises(DataError):
        list(state_copy.load(io.BytesIO(data)))


def test_a_backup_holds_what_is_no_copy_and_no_leftover(workspace):
    assert list(files_of(workspace.root, Chosen())) == KEPT
    with_key = set(files_of(workspace.root, Chosen(private_key=True))) - set(KEPT)
    assert with_key == {"state/keys/signing.key"}
    without = set(KEPT) - set(files_of(workspace.root, Chosen(output=False)))
    assert without == {"projects/shop/output/out.csv", "projects/shop/state/commits.jsonl"}


def test_there_and_back(state, workspace, tmp_path):
    fill(state)
    file = tmp_path / "one.llmos"
    made = write_backup(file, state, workspace.root)
    assert file.stat().st_mode & 0o777 == 0o600
    before = values(state)
    assert (made.keys, made.files) == (len(before), len(KEPT))
    assert verify(file) == made
    stamp = (workspace.root / "agents/coder.md").stat()
    state_copy.wipe(state)
    target = Workspace(tmp_path / "other")
    done = restore_backup(file, state, target)
    assert (done.keys, done.files, done.aside) == (made.keys, made.files, None)
    after = values(state)
    assert {n: v for n, v in after.items() if b"epoch" not in n} == before
    assert list(files_of(target.root, Chosen())) == KEPT
    for path in KEPT:
        assert (target.root / path).read_bytes() == (workspace.root / path).read_bytes()
    back = (target.root / "agents/coder.md").stat()
    assert (back.st_mtime_ns, back.st_mode) == (stamp.st_mtime_ns, stamp.st_mode)
    with pytest.raises(InvalidOption, match="there already"):
        write_backup(file, state, workspace.root)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_a_target_that_is_not_empty_is_replaced_only_by_force(state, workspace, tmp_path):
    file = tmp_path / "one.llmos"
    write_backup(file, state, workspace.root)
    state.set("llmos:later", "1")
    (workspace.root / "agents" / "later.md").write_text("mine")
    with pytest.raises(InvalidOption, match=r"Redis holds keys.*agents holds files.*--force") as no:
        restore_backup(file, state, workspace)
    assert state.get("llmos:later") == b"1", no
    done = restore_backup(file, state, workspace, force=True)
    assert not state.exists("llmos:later")
    assert not (workspace.root / "agents" / "later.md").exists()
    assert (done.aside / "agents" / "later.md").read_text() == "mine"
    assert list(files_of(workspace.root, Chosen())) == KEPT


def test_nothing_is_restored_under_workers(state, workspace, tmp_path):
    file = tmp_path / "one.llmos"
    write_backup(file, state, workspace.root)
    state.set(keys.heartbeat("llm@here"), json.dumps({"worker": "llm@here"}))
    with pytest.raises(InfrastructureError, match=r"llm@here\. Stop them"):
        restore_backup(file, state, Workspace(tmp_path / "other"), force=True)


def test_a_damaged_file_is_refused_and_changes_nothing(state, workspace, tmp_path):
    state.set("llmos:one", "1" * 50_000)
    file = tmp_path / "one.llmos"
    write_backup(file, state, workspace.root)
    good, bad = file.read_bytes(), tmp_path / "bad.llmos"
    step = max(1, len(good) // 60)
    places = [*range(0, len(good), step), len(good) - 1]
    damaged = [good[:at] for at in places]
    damaged += [good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :] for at in places]
    state_copy.wipe(state)
    for data in damaged:
        bad.write_bytes(data)
        with pytest.raises(DataError):
            restore_backup(bad, state, Workspace(tmp_path / "other"))
    assert list(state.scan_iter("llmos:*")) == []
    assert not (tmp_path / "other").exists()
    with pytest.raises(InvalidOption, match="no file"):
        verify(tmp_path / "none")


def rewritten(file, target, change) -> None:
    """The backup with other members, in a sound frame and tar, and with a right digest."""
    with (
        file.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as frame,
        tarfile.open(fileobj=frame, mode="r|") as tar,
    ):
        members = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w|") as tar:
        for name, data in change(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    frame = zstandard.ZstdCompressor().compress(packed.getvalue())
    target.write_bytes(frame + TRAILER + hashlib.sha256(frame).digest())


def _changed(members):
    return [(name, data + b" " if "coder" in name else data) for name, data in members]


def _with(members, **changes):
    data = json.loads(members[-1][1])
    return [*members[:-1], ("manifest.json", json.dumps(data | changes).encode())]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_changed, DataError),
        (lambda m: m[:-1], DataError),
        (lambda m: m[1:], DataError),
        (lambda m: [*m, ("workspace/agents/later.md", b"x")], DataError),
        (lambda m: [("workspace/../../up.md", b"x"), *m], DataError),
        (lambda m: _with(m, kind="other"), DataError),
        (lambda m: _with(m, format=2), NewerFormat),
        (lambda m: _with(m, schema_version=99, schema_reads=99), NewerFormat),
    ],
)  # fmt: skip
def test_a_forged_file_is_refused(state, workspace, tmp_path, change, error):
    file, bad = tmp_path / "one.llmos", tmp_path / "bad.llmos"
    write_backup(file, state, workspace.root)
    rewritten(file, bad, lambda members: members)
    assert verify(bad).files == len(KEPT)
    rewritten(file, bad, change)
    with pytest.raises(error):
        verify(bad)


@pytest.mark.parametrize(
    "path",
    ["../up", "/etc/passwd", "agents/../../up", "agents//x", "state/redis/x", "state/x", ".env",
     ".git/config", "projects/p/state/objects/x", "", ".", "a\0b", "agents/./x"],
)  # fmt: skip
def test_no_file_leads_elsewhere(path):
    with pytest.raises(DataError):
        checked(path)


def test_what_was_broken_off_lets_no_worker_start(state, workspace, tmp_path, monkeypatch):
    file = tmp_path / "one.llmos"
    fill(state)
    write_backup(file, state, workspace.root)
    state_copy.wipe(state)
    monkeypatch.setattr(
        state_copy, "write_all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        restore_backup(file, state, Workspace(tmp_path / "other"))
    with pytest.raises(IncompatibleSchema, match="being restored"):
        Schema(state, []).migrate()
    monkeypatch.undo()
    restore_backup(file, state, Workspace(tmp_path / "other"), force=True)
    assert not state.hexists(keys.SCHEMA, RESTORING)
    Schema(state, []).migrate()


def test_money_is_exact_in_backups_of_a_system_at_work(state, redis_server, tmp_path):
    """Reservations, settlements and doubts go on in threads while backups are made."""
    import redis

    stop, made = threading.Event(), []

    def work(number: int) -> None:
        with redis.Redis.from_url(f"{redis_server}/2") as mine:
            economy = an_economy(mine, tmp_path)
            while not stop.is_set():
                call = reserve(economy, 50, goal=f"g{number}", project=f"p{number % 2}")
                economy.mark_sent(call)
                economy.settle(call, usage=used(number + 1))
                reserve(economy, 5, goal=f"g{number}", project=f"p{number % 2}")

    workspace = Workspace(tmp_path / "workspace").ensure()
    an_economy(state, tmp_path, limit=10**9)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(6):
            file = tmp_path / f"{number}.llmos"
            write_backup(file, state, workspace.root)
            made.append(file)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    spent = []
    for number, file in enumerate(made):
        state_copy.wipe(state)
        restore_backup(file, state, Workspace(tmp_path / f"other{number}"))
        found = audit(state)
        assert not found.faults
        assert found.spent_micro == ledger_sum(state) == sums(an_economy(state, tmp_path))[0]
        spent.append(found.spent_micro)
    assert spent == sorted(spent)
    assert spent[-1] > 0


def test_the_audit_log_ends_where_redis_ends(state, tmp_path):
    """Records that were filed after Redis was read are no part of the backup."""
    from llmos_workers.kernel.gate_files import GateFiles
    from llmos_workers.kernel.gate_log import GateLog
    from llmos_workers.kernel.gate_verify import verify as verify_log
    from tests.kernel.test_gate_log import a_record

    workspace = Workspace(tmp_path / "workspace").ensure()
    log, files = GateLog(state), GateFiles(workspace.audit)
    for number in range(3):
        log.append(a_record(id=f"r{number}"))
    files.file_away(log)
    read_all = state_copy.read_all

    def and_then_more(client, watch):
        found = read_all(client, watch)
        log.append(a_record(id="r3"))
        files.file_away(log)
        return found

    file = tmp_path / "one.llmos"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_copy, "read_all", and_then_more)
        write_backup(file, state, workspace.root)
    state_copy.wipe(state)
    other = Workspace(tmp_path / "other")
    restore_backup(file, state, other)
    files = GateFiles(other.audit)
    assert verify_log(GateLog(state), files).whole
    GateLog(state).append(a_record(id="r4"))
    files.file_away(GateLog(state))
    found = verify_log(GateLog(state), files)
    assert (found.whole, found.records) == (True, 4)


def test_a_backup_that_cannot_be_written_leaves_nothing(state, workspace, tmp_path):
    folder = tmp_path / "none" / "there"
    with pytest.raises(InfrastructureError, match="cannot be written"):
        write_backup(folder / "x.llmos", state, workspace.root)
    assert not os.path.lexists(folder)
