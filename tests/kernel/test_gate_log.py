"""The audit log of the gate: one chain for all writers, and no change to it goes unseen."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from llmos_workers.contracts.errors import BrokerUnavailable, InfrastructureError
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.kernel import gate_files, keys
from llmos_workers.kernel.gate_files import GateFiles
from llmos_workers.kernel.gate_log import GateLog, as_text, beginning, link
from llmos_workers.kernel.gate_verify import verify
from tests.conftest import free_port


def a_record(**facts: Any) -> GateRecord:
    given = {
        "decision": GateDecision.ALLOW,
        "tool": "Write",
        "digest": "0" * 64,
        "goal_id": "g1",
        "project": "demo",
        "agent": "system-agent",
        "mode": "LEARNER",
        "source": "model",
    }
    return GateRecord(**{**given, **facts})


@pytest.fixture
def gate_log(state: redis.Redis) -> GateLog:
    return GateLog(state)


@pytest.fixture
def files(tmp_path: Path) -> GateFiles:
    return GateFiles(tmp_path / "audit")


@pytest.fixture
def five(gate_log: GateLog) -> None:
    for number in range(5):
        gate_log.append(a_record(goal_id=f"g{number}"))


def test_each_record_is_bound_to_all_before_it_and_to_the_servers_time(
    gate_log: GateLog, state: redis.Redis
) -> None:
    """The script's digest is the one that everybody else computes."""
    words = ("", "x" * 1000, "Grüße \u2028 \ud800", '"\\\n')
    assert [gate_log.append(a_record(reason=each)) for each in words] == [1, 2, 3, 4]
    entries = list(gate_log.after())
    before = beginning(entries[0].chain)
    for entry in entries:
        digest = hashlib.sha256(entry.text.encode()).digest()
        whole = bytes.fromhex(before) + digest + entry.id.encode()
        assert entry.hash == hashlib.sha256(whole).hexdigest() == link(before, entry.text, entry.id)
        before = entry.hash
    assert gate_log.head().hash == before
    seconds, _ = state.time()
    assert abs(entries[-1].decision().at - seconds) < 60
    assert [entry.decision().record.reason for entry in entries[:2]] == list(words[:2])


def test_many_writers_make_one_whole_chain(gate_log: GateLog, files: GateFiles) -> None:
    def write(name: int) -> None:
        for number in range(40):
            gate_log.append(a_record(goal_id=f"{name}-{number}"))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        files.file_away(gate_log)
    for writer in writers:
        writer.join()
    files.file_away(gate_log)
    found = verify(gate_log, files)
    assert (found.faults, found.records) == ([], 320)
    mine = [entry.decision().record.goal_id for entry in files.newest()]
    assert len(set(mine)) == 320
    for name in range(8):
        order = [goal for goal in mine if goal.startswith(f"{name}-")]
        assert order == [f"{name}-{number}" for number in reversed(range(40))]


def test_a_command_that_is_sent_twice_writes_once(
    gate_log: GateLog, state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py repeats a script whose answer was lost."""
    real = state.evalsha

    def twice(*args: Any) -> Any:
        real(*args)
        return real(*args)

    gate_log.append(a_record())
    monkeypatch.setattr(state, "evalsha", twice)
    assert gate_log.append(a_record()) == 2
    assert len(list(gate_log.after())) == 2


def test_a_server_clock_that_was_set_back_keeps_the_order(
    gate_log: GateLog, state: redis.Redis, files: GateFiles
) -> None:
    gate_log.append(a_record())
    state.hset(keys.GATE_HEAD, "ms", 99_999_999_999_999)
    assert [gate_log.append(a_record()) for _ in range(2)] == [2, 3]
    assert verify(gate_log, files).whole


Tamper = Callable[[redis.Redis], object]


def _replace(state: redis.Redis, number: int, change: Callable[[bytes], bytes]) -> None:
    """Write the stream anew with one record changed."""
    found: Any = state.xrange(keys.GATE_LOG)
    state.delete(keys.GATE_LOG)
    for at, (entry_id, fields) in enumerate(found, start=1):
        if at == number:
            fields[b"record"] = change(fields[b"record"])
        state.xadd(keys.GATE_LOG, fields, id=entry_id)


def _drop(state: redis.Redis, number: int) -> None:
    entry_id: Any = state.xrange(keys.GATE_LOG)[number - 1][0]
    state.xdel(keys.GATE_LOG, entry_id)


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda r: _replace(r, 2, lambda b: b.replace(b"allow", b"deny")), "record 2 is not what"),
        (lambda r: _replace(r, 5, lambda b: b.replace(b'"g4"', b'"g5"')), "record 5 is not what"),
        (lambda r: _drop(r, 3), "missing: 3"),
        (lambda r: _drop(r, 1), "missing: 1"),
        (lambda r: _drop(r, 5), "ends with record 4, and should with 5"),
        (lambda r: r.delete(keys.GATE_LOG), "ends with record 0, and should with 5"),
        (lambda r: r.hset(keys.GATE_HEAD, "n", 6), "ends with record 5, and should with 6"),
        (lambda r: r.hset(keys.GATE_HEAD, "hash", "0" * 64), "not the one that the head names"),
        (lambda r: r.delete(keys.GATE_HEAD), "of another chain"),
    ],
)
@pytest.mark.usefixtures("five")
def test_what_is_done_to_the_log_in_redis_shows(
    gate_log: GateLog, files: GateFiles, state: redis.Redis, tamper: Tamper, words: str
) -> None:
    assert verify(gate_log, files).whole
    tamper(state)
    assert words in " | ".join(verify(gate_log, files).faults)


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.usefixtures("five")
def test_no_byte_of_the_files_can_be_flipped(gate_log: GateLog, files: GateFiles) -> None:
    assert files.file_away(gate_log) == 5
    (path,) = files.all()
    for at in range(0, path.stat().st_size, 7):
        _flip(path, at)
        assert not verify(gate_log, files).whole, at
        _flip(path, at)
    assert verify(gate_log, files).whole


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        (slice(0, 4), "held 5: they were cut"),
        (slice(1, 5), "missing: 1"),
        (slice(0, 0), "held 5: they were cut"),
        ([0, 1, 3, 4], "missing: 3"),
        ([0, 2, 1, 3, 4], "stands behind"),
        ([0, 1, 1, 2, 3, 4], "stands behind"),
    ],
)
@pytest.mark.usefixtures("five")
def test_no_line_of_the_files_can_be_taken_or_moved(
    gate_log: GateLog, files: GateFiles, state: redis.Redis, keep: Any, words: str
) -> None:
    """Whether Redis still holds the records or has dropped them since."""
    files.file_away(gate_log)
    assert verify(gate_log, files).whole
    (path,) = files.all()
    lines = path.read_bytes().splitlines(keepends=True)
    left = lines[keep] if isinstance(keep, slice) else [lines[at] for at in keep]
    path.write_bytes(b"".join(left))
    assert words in " | ".join(verify(gate_log, files).faults)
    state.xtrim(keys.GATE_LOG, maxlen=0, approximate=False)
    assert words in " | ".join(verify(gate_log, files).faults)


@pytest.mark.usefixtures("five")
def test_filing_goes_on_where_a_crash_broke_it_off(
    gate_log: GateLog, files: GateFiles, state: redis.Redis
) -> None:
    """Lines written and not said so are not written again; a half line is written whole."""
    files.file_away(gate_log)
    (path,) = files.all()
    state.hdel(keys.GATE_HEAD, "filed_id")
    path.write_bytes(path.read_bytes()[:-30])
    assert verify(gate_log, files).whole
    assert files.file_away(gate_log) == 1
    assert files.file_away(gate_log) == 0
    found = verify(gate_log, files)
    assert (found.faults, found.records) == ([], 5)


def test_files_are_turned_and_redis_keeps_the_newest(
    gate_log: GateLog, files: GateFiles, state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_files, "FULL", 1_000)
    monkeypatch.setattr(gate_files, "KEPT", 4)
    for number in range(30):
        gate_log.append(a_record(goal_id=f"g{number}"))
        if number % 6 == 5:
            files.file_away(gate_log)
    assert len(files.all()) > 3
    assert state.xlen(keys.GATE_LOG) <= 8
    assert verify(gate_log, files).whole
    first = files.all()[0]
    held = len(first.read_bytes().splitlines())
    first.unlink()
    assert not verify(gate_log, files).whole
    assert verify(gate_log, files, since=held + 1).whole


@pytest.mark.usefixtures("five")
def test_a_redis_that_lost_its_data_begins_another_chain_and_it_shows(
    gate_log: GateLog, files: GateFiles, state: redis.Redis
) -> None:
    files.file_away(gate_log)
    noted = gate_log.head().hash
    assert verify(gate_log, files, head=noted).whole
    state.flushdb()
    gate_log.append(a_record())
    files.file_away(gate_log)
    assert "Redis knows nothing of it" in " | ".join(verify(gate_log, files).faults)
    (old,) = (path for path in files.all() if gate_log.head().chain not in path.name)
    old.unlink()
    assert verify(gate_log, files).whole
    assert "no record has the hash" in " | ".join(verify(gate_log, files, head=noted).faults)


def test_a_log_that_cannot_be_written_says_why(state: redis.Redis) -> None:
    with redis.Redis(port=free_port()) as nobody, pytest.raises(BrokerUnavailable):
        GateLog(nobody).append(a_record())
    state.set(keys.GATE_LOG, "in the way")
    with pytest.raises(InfrastructureError, match="audit log"):
        GateLog(state).append(a_record())
    assert not state.exists(keys.GATE_HEAD)


def test_a_record_holds_no_empty_fields() -> None:
    assert "reason" not in as_text(a_record())
