"""What this release does with goals and traces of the next one: it leaves them whole."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import InvalidOption, NewerFormat
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.payload import make_options
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.codec import pack, unpack
from llmos_workers.kernel.goals import GoalStore, new_record
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.trace_seal import objection, sealed
from llmos_workers.learning.traces import TraceManager
from llmos_workers.runtime import Runtime
from llmos_workers.tasks.hops import Process, leased_run, receive
from llmos_workers.tasks.leaving import NEWER_SECS
from tests.learning.conftest import make_trace


@pytest.fixture
def store(state) -> GoalStore:
    return GoalStore(state, SystemClock())


@pytest.fixture
def newer(state, store) -> str:
    """Id of a goal that only the next release can read."""
    record = new_record("do it", make_options(), now=1_763_798_400.0)
    store.create(record)
    state.hset(keys.goal(record.goal_id), mapping={"v": "2", "options": "{}"})
    return record.goal_id


class Again(Exception):
    """What Celery's retry raises."""


class ATask:
    """As much of a task as the doors look at."""

    def __init__(self, goal_id: str) -> None:
        self.request = SimpleNamespace(id=goal_id)
        self.waits: list[float] = []

    def retry(self, *, countdown: float, throw: bool) -> BaseException:
        assert not throw
        self.waits.append(countdown)
        return Again()


def test_a_goal_of_the_next_release_waits_at_every_door(state, store, newer, tmp_path):
    before = state.hgetall(keys.goal(newer))
    runtime = Runtime(LLMOSConfig.from_dict({"workspace": tmp_path}), redis=state)
    task = ATask(newer)
    with pytest.raises(Again):
        receive(task, Process(os.getpid(), runtime, None), {"stored": True})
    with pytest.raises(Again):
        leased_run(task, runtime, lambda run: pytest.fail("it ran"))
    assert all(NEWER_SECS <= wait < 2 * NEWER_SECS for wait in task.waits)
    assert len(task.waits) == 2
    assert state.hgetall(keys.goal(newer)) == before


def test_a_run_that_the_next_release_began_is_given_back_uncounted(state, store, tmp_path):
    record = new_record("do it", make_options(), now=1_763_798_400.0)
    store.create(record)
    store.transition(record.goal_id, GoalState.DISPATCHED, decision=_decision())
    lease, _ = store.acquire(record.goal_id, owner="newer", ttl_s=30)
    store.append_journal(lease, pack({"v": 2, "kind": "tool", "call": "x"}))
    store.release(lease, state=GoalState.DISPATCHED)
    runtime = Runtime(LLMOSConfig.from_dict({"workspace": tmp_path}), redis=state, broker=state)
    task = ATask(record.goal_id)

    def read_journal(run):
        from llmos_workers.execution.journal import RunJournal

        RunJournal(run.runtime.goals.journal(record.goal_id))

    with pytest.raises(Again):
        leased_run(task, runtime, read_journal)
    after = store.get(record.goal_id)
    assert (after.state, after.lease_owner, after.deliveries) == (GoalState.DISPATCHED, None, 1)
    assert after.outcome is None


def _decision():
    from llmos_workers.contracts.decision import ModeDecision
    from llmos_workers.contracts.modes import Mode

    return ModeDecision(mode=Mode.LEARNER, reason="new")


def test_lists_go_on_without_it_and_forget_nothing(store, newer):
    mine = new_record("mine", make_options(), now=1_763_798_401.0)
    store.create(mine)
    for _ in range(2):
        assert [record.goal_id for record in store.list()] == [mine.goal_id]
        assert [r.goal_id for r in store.list(state=GoalState.ACCEPTED)] == [mine.goal_id]
    assert store.get_many([newer, mine.goal_id]) == [None, mine]
    assert store._redis.zscore(keys.GOALS_ALL, newer)
    with pytest.raises(NewerFormat, match="Upgrade"):
        store.get(newer)
    with pytest.raises(NewerFormat):
        store.acquire(newer, owner="me")


# -- traces ------------------------------------------------------------------------------------


@pytest.fixture
def manager(state, tmp_path) -> TraceManager:
    return TraceManager(state, Workspace(tmp_path / "workspace").ensure())


def _of_next_release(manager: TraceManager, state) -> ExecutionTrace:
    """A trace with a field that this release does not know, signed by the release that does."""
    saved = manager.save_trace(make_trace())
    name = keys.trace("default", saved.trace_id)
    content = unpack(state.hget(name, "content"))
    newer = ExecutionTrace.model_validate(content | {"only_on": ["mondays"]})
    newer = sealed(newer, manager.keys)
    path = manager._sync._folder.root.parent.parent / state.hget(name, "path").decode()
    path.write_text(
        path.read_text().replace("\nversion: 1\n", "\nversion: 1\nonly_on: [mondays]\n")
    )
    facts = path.stat()
    content |= {"only_on": ["mondays"], "signature": newer.signature}
    stamp = f"{facts.st_mtime_ns}:{facts.st_size}"
    state.hset(name, mapping={"content": pack(content), "stamp": stamp})
    return newer


def test_a_trace_that_says_more_than_this_release_knows_is_not_followed(manager, state):
    newer = _of_next_release(manager, state)
    found = manager.get("default", newer.trace_id)
    assert found.standing is Standing.NEWER
    assert "newer release" in objection(found)
    assert manager.save_trace(make_trace(answer="Mine.")).answer == newer.answer
    with pytest.raises(InvalidOption, match="cannot be approved here"):
        manager.approve("default", newer.trace_id, by="ada")


def test_what_is_said_of_such_a_trace_is_added_and_it_stays_whole(manager, state):
    newer = _of_next_release(manager, state)
    assert manager.add_veto("default", newer.trace_id, "another goal")
    found = manager.get("default", newer.trace_id)
    assert found.vetoes
    assert found.standing is Standing.NEWER
    assert found.model_extra == {"only_on": ["mondays"]}
    assert "\nonly_on:" in manager._sync._folder.read(
        manager._store.get("default", newer.trace_id).path
    )


def test_an_edited_trace_of_the_next_release_is_edited_first_of_all(manager, state):
    newer = _of_next_release(manager, state)
    name = keys.trace("default", newer.trace_id)
    content = unpack(state.hget(name, "content"))
    state.hset(name, "content", pack(content | {"only_on": ["tuesdays"]}))
    assert manager.get("default", newer.trace_id).standing is Standing.EDITED


def test_a_field_that_says_nothing_new_leaves_no_mark(manager, state):
    """So the next release's traces are followed here as long as they do not use what is new."""
    saved = manager.save_trace(make_trace())
    content = unpack(state.hget(keys.trace("default", saved.trace_id), "content"))
    assert "pinned" not in content
    assert "premises" not in content
    assert manager.get("default", saved.trace_id).standing is Standing.SIGNED
