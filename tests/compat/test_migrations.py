"""Data of older releases becomes this one's: once, under a lock, and worth what it was worth."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading

import pytest

from llmos_workers.contracts.errors import IncompatibleSchema
from llmos_workers.contracts.trace import Standing
from llmos_workers.kernel import keys, schema
from llmos_workers.kernel.codec import unpack
from llmos_workers.kernel.schema import SCHEMA, Schema, Step
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.migrations import schema_of
from llmos_workers.learning.traces import TraceManager
from llmos_workers.worker import worker_command
from tests.compat.formats import FOLDER

P = "default"


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "workspace").ensure()


def old_data(workspace: Workspace, state=None) -> list[str]:
    """Put what an older release wrote and signed in place, with its public key; the trace ids."""
    stored = json.loads((FOLDER / "signed-format-1.json").read_text(encoding="utf-8"))
    for name, key in stored["keys"].items():
        workspace.write_atomic(f"state/keys/trusted/{name}", json.dumps(key).encode())
    for path, text in stored["files"].items():
        workspace.write_atomic(path, text.encode())
    for trace_id, fields in stored["records"].items() if state is not None else ():
        record = {name: base64.b64decode(value) for name, value in fields.items()}
        facts = (workspace.root / record["path"].decode()).stat()
        record["stamp"] = f"{facts.st_mtime_ns}:{facts.st_size}".encode()
        state.hset(keys.trace(P, trace_id), mapping=record)
        state.sadd(keys.trace_ids(P), trace_id)
        state.sadd(keys.TRACE_PROJECTS, P)
    return sorted(stored["records"])


def texts(workspace: Workspace) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted(workspace.traces.glob("*/*.md"))}


def test_records_and_files_of_an_older_release_become_new_and_stay_vouched_for(state, workspace):
    trace_ids = old_data(workspace, state)
    manager = TraceManager(state, workspace)
    before = {each: manager.get(P, each) for each in trace_ids}
    (edited,) = (p for p in workspace.traces.glob("*/*.md") if "other" in p.name)
    edited.write_text(edited.read_text().replace("answer: Edited later.", "answer: Planted."))
    done = schema_of(state, workspace).migrate()
    # The edited file is read anew on the way, and written in the new format by that.
    assert [(each.step.to, each.changed) for each in done] == [(1, 2), (2, 1)]
    for text in texts(workspace).values():
        assert text.startswith("---\nformat: 2\n")
        assert "usage_count" not in text
    standing = {t.goal_text: t.standing for t in TraceManager(state, workspace).list(P)}
    assert standing == {"Write hello.py": Standing.SIGNED, "Write other.py": Standing.EDITED}
    for trace_id in trace_ids:
        now = manager.get(P, trace_id)
        assert now.signature == before[trace_id].signature
        assert (now.usage_count, now.evidence) == (3, before[trace_id].evidence)
        assert "pinned" not in unpack(state.hget(keys.trace(P, trace_id), "content"))
    assert schema_of(state, workspace).state().version == SCHEMA
    assert schema_of(state, workspace).migrate() == []


def test_each_step_may_run_again(state, workspace):
    old_data(workspace, state)
    for expected in ([2, 2], [0, 0]):
        steps = schema_of(state, workspace)._steps
        assert [step.run() for step in steps] == expected
        before = texts(workspace)
    assert texts(workspace) == before


def test_files_of_format_1_become_new_when_they_are_read(state, workspace):
    """A workspace that was copied or cloned: Redis knows nothing of it."""
    old_data(workspace)
    manager = TraceManager(state, workspace)
    assert manager.scan().added == 2
    assert all(text.startswith("---\nformat: 2\n") for text in texts(workspace).values())
    found = manager.list(P)
    assert [t.standing for t in found] == [Standing.SIGNED] * 2
    assert [t.usage_count for t in found] == [3, 3]
    before = texts(workspace)
    assert (manager.scan().changed, texts(workspace)) == (0, before)


@pytest.mark.parametrize("trusted", [True, False])
def test_what_was_not_vouched_for_is_not_afterwards(state, workspace, trusted):
    old_data(workspace)
    if not trusted:
        (key,) = (workspace.keys / "trusted").glob("*.json")
        key.unlink()
    for path in workspace.traces.glob("*/*.md") if trusted else ():
        text = path.read_text()
        assert "hidden: []\n" in text
        path.write_text(text.replace("hidden: []\n", "hidden:\n- x\n"))
    manager = TraceManager(state, workspace)
    manager.scan()
    expected = Standing.EDITED if trusted else Standing.UNKNOWN_KEY
    assert {t.standing for t in manager.list(P)} == {expected}
    assert all(text.startswith("---\nformat: 2\n") for text in texts(workspace).values())


# -- the machinery -----------------------------------------------------------------------------


class Counted:
    """A step that says how often it ran."""

    def __init__(self, to: int, *, reads: int = 0, fails: int = 0) -> None:
        self.runs, self._fails = 0, fails
        self.step = Step(to, f"step {to}", self._run, reads)

    def _run(self) -> int:
        self.runs += 1
        if self.runs <= self._fails:
            raise RuntimeError("broken off")
        return 1


def live(state, name: str, **facts) -> None:
    state.set(keys.heartbeat(name), json.dumps({"worker": name, **facts}), ex=60)


def test_steps_run_in_order_and_a_broken_one_is_run_again(state):
    first, second, third = Counted(1), Counted(2, fails=1), Counted(3)
    made = Schema(state, [each.step for each in (first, second, third)], own=3)
    with pytest.raises(RuntimeError):
        made.migrate()
    assert made.state().version == 1
    assert [done.step.to for done in made.migrate()] == [2, 3]
    assert [each.runs for each in (first, second, third)] == [1, 2, 1]
    assert made.migrate() == []


def test_many_at_once_run_each_step_once(state):
    step = Counted(1)
    made = [Schema(state, [step.step], own=1) for _ in range(8)]
    threads = [threading.Thread(target=each.migrate) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert step.runs == 1
    assert not state.exists(keys.SCHEMA_LOCK)


def test_a_step_that_live_workers_could_not_read_waits_for_their_end(state):
    step = Counted(2, reads=2)
    made = Schema(state, [step.step], own=2)
    live(state, "llm@old", schema=1)
    live(state, "llm@new", schema=2)
    with pytest.raises(IncompatibleSchema, match=r"could not read .* llm@old\. Stop them"):
        made.migrate()
    assert (step.runs, made.state().version) == (0, 0)
    state.delete(keys.heartbeat("llm@old"))
    assert len(made.migrate()) == 1


def test_an_older_release_works_on_what_it_can_read_and_refuses_the_rest(state):
    Schema(state, [Counted(1).step, Counted(2, reads=1).step], own=2).migrate()
    older = Schema(state, [Counted(1).step], own=1)
    assert older.migrate() == []
    assert older.state() == schema.SchemaState(2, 1)
    Schema(state, [Counted(3, reads=3).step], own=3).migrate()
    with pytest.raises(IncompatibleSchema, match=r"has schema 3.*cannot read.*Upgrade this llmos"):
        older.migrate()


def test_a_lock_of_a_dead_process_expires_and_its_step_runs_again(state):
    state.set(keys.SCHEMA_LOCK, "dead", px=50)
    step = Counted(1)
    assert len(Schema(state, [step.step], own=1).migrate()) == 1


def test_the_steps_lead_to_this_releases_schema(state, workspace):
    steps = schema_of(state, workspace)._steps
    assert [step.to for step in steps] == list(range(1, SCHEMA + 1))
    assert all(step.reads <= step.to for step in steps)


def test_the_command_says_what_there_is_to_do_and_does_it(run, state, workspace, tmp_path):
    old_data(workspace, state)
    options = ("--workspace", str(workspace.root))
    checked = run(*options, "migrate", "--check", "--json")
    assert (checked.code, checked.json["schema"]) == (1, 0)
    assert [step["to"] for step in checked.json["todo"]] == [1, 2]
    done = run(*options, "migrate")
    assert done.code == 0
    assert "schema 2: files of traces without counters (format 2) (2 changed)" in done.out
    again = run(*options, "migrate", "--json").json
    assert (again["schema"], again["done"], again["todo"]) == (SCHEMA, [], [])
    state.hset(keys.SCHEMA, mapping={"version": 9, "reads": 9})
    refused = run(*options, "migrate")
    assert refused.code == 6
    assert "Upgrade this llmos" in refused.err


@pytest.mark.slow
def test_a_worker_does_not_start_on_data_that_it_cannot_read(state, redis_server, tmp_path):
    state.hset(keys.SCHEMA, mapping={"version": 9, "reads": 9})
    env = os.environ | {
        "LLMOS_REDIS_URL": redis_server,
        "LLMOS_WORKSPACE": str(tmp_path),
        "LLMOS_HEARTBEAT_FILE": str(tmp_path / "beat"),
    }
    worker = subprocess.run(
        worker_command("upkeep"), env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert worker.returncode != 0
    assert "cannot read" in worker.stderr + worker.stdout
    assert "Upgrade this llmos" in worker.stderr + worker.stdout
    assert not (tmp_path / "beat").exists()
