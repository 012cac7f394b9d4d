"""TraceManager: stored, found, edited by hand, counted, apart by project, and safe in a crash."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import redis

from llmos_workers.contracts.decision import MatchCandidate, MatchResult
from llmos_workers.contracts.errors import (
    DataError,
    InvalidOption,
    LeaseLost,
    MalformedFile,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_file import from_markdown
from llmos_workers.learning.trace_folder import TraceFolder
from llmos_workers.learning.traces import TraceManager
from tests.kernel.goal_support import a_goal, expire_lease
from tests.learning.conftest import make_trace

GOAL = "Write hello.py"
SIG = goal_signature(GOAL)


def unjudged(trace: ExecutionTrace) -> ExecutionTrace:
    """As a file says it: what its signature is worth is not in it."""
    return trace.model_copy(update={"standing": Standing.UNCHECKED})


def file_of(workspace: Workspace, trace: ExecutionTrace) -> Path:
    return next(workspace.traces.glob(f"{trace.project}/*-{trace.trace_id}.md"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))


def ops(state: redis.Redis) -> list[bytes]:
    return [fields[b"op"] for _, fields in state.xrange(keys.INDEX_OUTBOX)]


# -- storing and finding -----------------------------------------------------------------------


def test_a_saved_trace_is_found_by_its_goal_and_by_its_id(manager: TraceManager) -> None:
    stored = manager.save_trace(make_trace())
    assert stored.version == 1
    assert (
        manager.find_exact("default", goal_signature("write  Hello.py".replace("H", "h"))) == stored
    )
    assert manager.get("default", SIG) == stored
    assert manager.list("default") == [stored]
    assert manager.get("default", "0" * 16) is None


def test_the_file_lies_under_its_project_and_is_the_whole_trace(
    manager: TraceManager, workspace: Workspace
) -> None:
    stored = manager.save_trace(make_trace(project="shop"))
    path = file_of(workspace, stored)
    assert path.name == f"write-hello-py-{SIG}.md"
    assert from_markdown(path.read_text()) == unjudged(stored)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_process_sees_it_at_once(
    manager: TraceManager, state: redis.Redis, workspace: Workspace
) -> None:
    other = TraceManager(state, workspace)
    assert other.find_exact("default", SIG) is None
    manager.save_trace(make_trace())
    assert other.find_exact("default", SIG) is not None
    manager.save_trace(make_trace(answer="Better."))
    found = other.find_exact("default", SIG)
    assert found is not None
    assert (found.version, found.answer) == (2, "Better.")


def test_projects_never_see_each_other(manager: TraceManager) -> None:
    manager.save_trace(make_trace(project="a"))
    assert manager.find_exact("b", SIG) is None
    assert manager.get("b", SIG) is None
    assert manager.list("b") == []
    manager.save_trace(make_trace(project="b", answer="b's"))
    manager.update_trace_stats("b", SIG, success=True)
    mine = manager.get("a", SIG)
    assert mine is not None
    assert (mine.answer, mine.usage_count) == ("Done.", 0)
    assert manager.remove("b", SIG)
    assert manager.find_exact("a", SIG) is not None


def test_a_file_that_claims_another_project_is_refused(
    manager: TraceManager, workspace: Workspace
) -> None:
    stored = manager.save_trace(make_trace(project="a"))
    folder = workspace.traces / "b"
    folder.mkdir()
    shutil.copy(file_of(workspace, stored), folder)
    assert manager.scan().problems == 1
    assert "folder of 'b'" in manager.problems()[0].reason
    assert manager.list("b") == []
    assert len(manager.list("a")) == 1


def test_the_hot_path_costs_one_round_trip_and_one_stat(
    manager: TraceManager, state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.save_trace(make_trace())
    manager.add_alias("default", SIG, "Please write hello.py now")
    manager.find_exact("default", SIG)
    trips, stats = [], []
    pipeline_execute, command = redis.client.Pipeline.execute, redis.Redis.execute_command
    stat = os.lstat
    monkeypatch.setattr(
        redis.client.Pipeline, "execute", lambda self: trips.append(1) or pipeline_execute(self)
    )
    monkeypatch.setattr(
        redis.Redis,
        "execute_command",
        lambda self, *args, **kw: trips.append(args) or command(self, *args, **kw),
    )
    monkeypatch.setattr(os, "lstat", lambda path: stats.append(path) or stat(path))
    assert manager.find_exact("default", SIG) is not None
    assert (len(trips), len(stats)) == (1, 1)
    assert manager.find_exact("default", goal_signature("please write hello.py now")) is not None
    assert (len(trips), len(stats)) == (3, 2)


def test_find_trace_with_llm_asks_the_matcher(manager: TraceManager) -> None:
    stored = manager.save_trace(make_trace())

    class Fixed:
        def match(self, goal: str, project: str, *, top_k: int = 5) -> MatchResult:
            best = MatchCandidate(trace_id=SIG, goal_text=goal, stage="exact", confidence=0.8)
            return MatchResult(candidates=(best,))

    with pytest.raises(DataError, match="no matcher"):
        manager.find_trace_with_llm("x")
    manager.matcher = Fixed()
    assert manager.find_trace_with_llm("x") == (stored, 0.8)
    assert manager.find_trace_with_llm("x", 0.9) is None


# -- versions, wordings, vetoes ----------------------------------------------------------------


def test_a_new_version_keeps_wordings_and_counters_and_ends_a_streak(
    manager: TraceManager, workspace: Workspace
) -> None:
    manager.save_trace(make_trace())
    manager.add_alias("default", SIG, "make hello.py")
    manager.add_veto("default", SIG, "delete hello.py")
    manager.update_trace_stats("default", SIG, success=False)
    manager.update_trace_stats("default", SIG, success=False)
    stored = manager.save_trace(make_trace(answer="Healed."))
    again = manager.get("default", SIG)
    assert again is not None
    assert (stored.version, again.version) == (2, 2)
    assert again.aliases == ("make hello.py",)
    assert again.vetoes == (goal_signature("delete hello.py"),)
    assert (again.usage_count, again.failure_streak) == (2, 0)
    assert len(list(workspace.traces.glob("default/*.md"))) == 1


def test_a_veto_takes_the_alias_back_for_good(manager: TraceManager) -> None:
    manager.save_trace(make_trace())
    wording = "make a hello.py"
    assert manager.add_alias("default", SIG, wording)
    assert not manager.add_alias("default", SIG, "MAKE a hello.py.")
    assert manager.find_exact("default", goal_signature(wording)) is not None
    assert manager.add_veto("default", SIG, wording)
    assert not manager.add_veto("default", SIG, wording)
    assert manager.find_exact("default", goal_signature(wording)) is None
    assert not manager.add_alias("default", SIG, wording)


def test_a_veto_also_stops_the_exact_goal(manager: TraceManager) -> None:
    manager.save_trace(make_trace())
    manager.add_veto("default", SIG, GOAL)
    assert manager.find_exact("default", SIG) is None
    assert manager.get("default", SIG) is not None


def test_an_alias_never_takes_another_traces_goal(manager: TraceManager) -> None:
    manager.save_trace(make_trace())
    other = manager.save_trace(make_trace("Print hello"))
    manager.add_alias("default", SIG, "Print hello")
    found = manager.find_exact("default", other.trace_id)
    assert found is not None
    assert found.trace_id == other.trace_id


def test_an_alias_or_count_for_no_trace_does_nothing(
    manager: TraceManager, state: redis.Redis
) -> None:
    assert not manager.add_alias("default", SIG, "x")
    assert not manager.add_veto("default", SIG, "x")
    assert not manager.update_trace_stats("default", SIG, success=True)
    assert not manager.remove("default", SIG)
    assert not state.exists(keys.trace("default", SIG))


def test_a_trace_with_a_failed_step_is_never_proved(manager: TraceManager) -> None:
    failed = make_trace().steps[0].model_copy(update={"ok": False})
    assert not manager.save_trace(make_trace(steps=(failed,))).proved


def test_an_id_that_could_be_a_path_is_refused(manager: TraceManager) -> None:
    with pytest.raises(DataError):
        manager.save_trace(make_trace(trace_id="../x"))


@pytest.mark.parametrize("project", ["../agents", "A", ""])
def test_a_project_that_could_be_a_path_is_refused(manager: TraceManager, project: str) -> None:
    with pytest.raises(InvalidOption):
        manager.save_trace(make_trace(project=project))


def test_readers_beside_a_writer_always_see_a_whole_trace(
    manager: TraceManager, state: redis.Redis, workspace: Workspace
) -> None:
    manager.save_trace(make_trace(answer="0"))
    done = threading.Event()

    def read() -> int:
        mine, last, reads = TraceManager(state, workspace), 0, 0
        while not done.is_set() or reads == 0:
            found = mine.find_exact("default", SIG)
            assert found is not None
            assert int(found.answer) == found.version - 1 >= last
            last, reads = int(found.answer), reads + 1
        return reads

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for n in range(1, 40):
                assert manager.save_trace(make_trace(answer=str(n))).version == n + 1
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert not list(workspace.traces.glob("default/.*"))


def test_many_writers_lose_no_alias(state: redis.Redis, workspace: Workspace) -> None:
    TraceManager(state, workspace).save_trace(make_trace())

    def add(worker: int) -> None:
        mine = TraceManager(state, workspace)
        for n in range(4):
            assert mine.add_alias("default", SIG, f"wording {worker} {n}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, range(3)))
    found = TraceManager(state, workspace).get("default", SIG)
    assert found is not None
    assert len(found.aliases) == 12
    assert from_markdown(file_of(workspace, found).read_text()) == unjudged(found)


# -- edits by hand -----------------------------------------------------------------------------


def test_an_edit_is_seen_by_the_next_goal(
    manager: TraceManager, workspace: Workspace, state: redis.Redis
) -> None:
    stored = manager.save_trace(make_trace())
    edit(file_of(workspace, stored), "answer: Done.", "answer: Edited.")
    epoch = int(state.get(keys.epoch("traces")))
    found = manager.find_exact("default", SIG)
    assert found is not None
    assert found.answer == "Edited."
    assert int(state.get(keys.epoch("traces"))) == epoch + 1
    assert ops(state) == [b"put", b"put"]
    assert manager.find_exact("default", SIG) == found
    assert len(ops(state)) == 2


def test_an_edit_of_the_prose_changes_nothing_and_stays(
    manager: TraceManager, workspace: Workspace, state: redis.Redis
) -> None:
    path = file_of(workspace, manager.save_trace(make_trace()))
    edit(path, "## Summary\n", "## Summary\n\nMind the gap.\n")
    assert manager.find_exact("default", SIG) is not None
    assert ops(state) == [b"put"]
    manager.add_alias("default", SIG, "another wording")
    manager.update_trace_stats("default", SIG, success=True)
    assert manager.flush_counters() == 1
    assert "Mind the gap." in path.read_text()
    assert "usage_count" not in path.read_text()


def test_an_edited_goal_and_alias_change_what_is_found(
    manager: TraceManager, workspace: Workspace
) -> None:
    stored = manager.save_trace(make_trace(aliases=("make hello.py",)))
    path = file_of(workspace, stored)
    edit(path, "- make hello.py", "- build hello.py")
    assert manager.find_exact("default", goal_signature("make hello.py")) is None
    assert manager.find_exact("default", goal_signature("build hello.py")) is not None
    edit(path, f"goal_text: {GOAL}", "goal_text: Write bye.py")
    assert manager.find_exact("default", SIG) is None
    found = manager.find_exact("default", goal_signature("Write bye.py"))
    assert found is not None
    assert found.trace_id == SIG


def test_a_deleted_file_is_a_forgotten_trace(
    manager: TraceManager, workspace: Workspace, state: redis.Redis
) -> None:
    stored = manager.save_trace(make_trace(aliases=("make hello.py",)))
    file_of(workspace, stored).unlink()
    assert manager.find_exact("default", goal_signature("make hello.py")) is None
    assert ops(state) == [b"put", b"delete"]
    assert not state.exists(keys.trace("default", SIG), keys.trace_wordings("default"))
    assert manager.list("default") == []


def test_a_folder_that_is_not_mounted_forgets_nothing(
    manager: TraceManager, workspace: Workspace
) -> None:
    stored = manager.save_trace(make_trace())
    away = workspace.traces.rename(workspace.traces.with_name("away"))
    assert manager.find_exact("default", SIG) is None
    manager.scan()
    away.rename(workspace.traces)
    assert manager.find_exact("default", SIG) == stored


def test_a_broken_file_is_skipped_named_and_comes_back_with_its_counters(
    manager: TraceManager, workspace: Workspace
) -> None:
    stored = manager.save_trace(make_trace())
    other = manager.save_trace(make_trace("Print hello"))
    manager.update_trace_stats("default", SIG, success=True)
    path = file_of(workspace, stored)
    edit(path, "proved: true", "proved: [")
    assert manager.find_exact("default", SIG) is None
    assert manager.find_exact("default", other.trace_id) is not None
    report = manager.scan()
    assert report.problems == 1
    fault = manager.problems()[0]
    assert isinstance(fault, MalformedFile)
    assert fault.path == f"memories/traces/default/{path.name}"
    assert fault.line > 1
    edit(path, "proved: [", "proved: true")
    found = manager.find_exact("default", SIG)
    assert found is not None
    assert found.usage_count == 1
    assert manager.problems() == []


def test_a_new_version_replaces_a_broken_file(manager: TraceManager, workspace: Workspace) -> None:
    path = file_of(workspace, manager.save_trace(make_trace()))
    path.write_text("broken")
    assert manager.save_trace(make_trace()).version == 2
    assert manager.find_exact("default", SIG) is not None


def test_scan_takes_up_new_edited_moved_and_deleted_files(
    manager: TraceManager, state: redis.Redis, workspace: Workspace
) -> None:
    kept, edited, gone = (manager.save_trace(make_trace(goal)) for goal in ("one", "two", "three"))
    incoming = make_trace("four", usage_count=7, success_count=7, avg_latency_ms=2.5)
    new_file = workspace.traces / "default" / "mine.md"
    from llmos_workers.learning.trace_file import to_markdown

    new_file.write_text(to_markdown(incoming, counters=True).replace("format: 2", "format: 1"))
    edit(file_of(workspace, edited), "answer: Done.", "answer: Edited.")
    file_of(workspace, gone).unlink()
    manager.update_trace_stats("default", kept.trace_id, success=True)
    kept_file = file_of(workspace, kept)
    kept_file.rename(kept_file.with_name("renamed.md"))
    report = manager.scan()
    assert report.problems == 0
    found = {trace.goal_text: trace for trace in manager.list("default")}
    assert set(found) == {"one", "two", "four"}
    assert found["two"].answer == "Edited."
    assert found["one"].usage_count == 1
    assert (report.added, report.changed, report.removed) == (2, 1, 1)
    assert (found["four"].usage_count, found["four"].avg_latency_ms) == (7, 2.5)
    again = manager.scan()
    assert (again.added, again.changed, again.removed) == (0, 0, 0)


def test_scan_of_another_machine_rebuilds_redis_from_the_files(
    manager: TraceManager, state: redis.Redis, workspace: Workspace
) -> None:
    manager.save_trace(make_trace(aliases=("make hello.py",), project="shop"))
    manager.update_trace_stats("shop", SIG, success=True, saved_micro=5)
    manager.flush_counters()
    state.flushall()
    assert manager.scan().added == 1
    found = manager.find_exact("shop", goal_signature("make hello.py"))
    assert found is not None
    assert (found.usage_count, found.total_saved_micro) == (1, 5)


def test_a_copied_file_is_named_as_a_double(manager: TraceManager, workspace: Workspace) -> None:
    path = file_of(workspace, manager.save_trace(make_trace()))
    shutil.copy(path, path.with_name("copy.md"))
    assert manager.scan().problems == 1
    assert "already in" in manager.problems()[0].reason
    path.with_name("copy.md").unlink()
    assert manager.scan().problems == 0


def test_links_and_strange_files_are_no_traces(
    manager: TraceManager, workspace: Workspace, tmp_path: Path
) -> None:
    path = file_of(workspace, manager.save_trace(make_trace()))
    outside = tmp_path / "outside.md"
    outside.write_text(path.read_text().replace(SIG, "f" * 16))
    (path.parent / "link.md").symlink_to(outside)
    (path.parent / "folder.md").mkdir()
    (path.parent / "binary.md").write_bytes(b"---\n\xff\xfe")
    (workspace.traces / "Not A Project").mkdir()
    manager.scan()
    assert [trace.trace_id for trace in manager.list("default")] == [SIG]
    assert any("UTF-8" in fault.reason for fault in manager.problems())


def test_an_older_file_restored_by_hand_counts(manager: TraceManager, workspace: Workspace) -> None:
    path = file_of(workspace, manager.save_trace(make_trace()))
    first = path.read_text()
    manager.save_trace(make_trace(answer="Second."))
    path.write_text(first)
    later = time.time_ns() + 1_000_000_000
    os.utime(path, ns=(later, later))
    found = manager.find_exact("default", SIG)
    assert found is not None
    assert (found.version, found.answer) == (1, "Done.")


# -- counting ----------------------------------------------------------------------------------


def _count(url: str, folder: str, uses: int) -> None:
    manager = TraceManager(redis.Redis.from_url(url), Workspace(folder))
    for n in range(uses):
        manager.update_trace_stats(
            "default", SIG, success=n % 10 != 0, cost_micro=3, saved_micro=7, latency_ms=1.5
        )


@pytest.mark.process
def test_counts_from_many_processes_are_exact(
    manager: TraceManager, workspace: Workspace, redis_server: str
) -> None:
    manager.save_trace(make_trace())
    context = get_context("spawn")
    workers = [
        context.Process(target=_count, args=(f"{redis_server}/2", str(workspace.root), 200))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found = manager.get("default", SIG)
    assert found is not None
    assert (found.usage_count, found.success_count) == (600, 540)
    assert (found.total_cost_micro, found.total_saved_micro) == (1_800, 4_200)
    assert found.avg_latency_ms == pytest.approx(1.5)
    assert found.last_used


def test_an_outcome_reported_twice_counts_once(manager: TraceManager) -> None:
    manager.save_trace(make_trace())
    assert manager.update_trace_stats("default", SIG, success=True, outcome_id="g1")
    assert not manager.update_trace_stats("default", SIG, success=True, outcome_id="g1")
    assert manager.update_trace_stats("default", SIG, success=True, outcome_id="g2")
    found = manager.get("default", SIG)
    assert found is not None
    assert found.usage_count == 2


def test_no_late_writes_a_run_that_lost_its_lease_is_not_counted(manager, state):
    manager.save_trace(make_trace())
    store = GoalStore(state, SystemClock())
    goal_id = store.create(a_goal())[0].goal_id
    old, _ = store.acquire(goal_id, owner="old")
    expire_lease(state, goal_id)
    new, _ = store.acquire(goal_id, owner="new")
    told = {"success": True, "outcome_id": goal_id}
    with pytest.raises(LeaseLost):
        manager.update_trace_stats("default", SIG, **told, lease=old)
    assert manager.get("default", SIG).usage_count == 0
    assert manager.update_trace_stats("default", SIG, **told, lease=new)
    right = {"stage": "exact", "confidence": 1.0, "right": True, "outcome_id": goal_id}
    with pytest.raises(LeaseLost):
        manager.add_evidence("default", SIG, **right, lease=old)
    with pytest.raises(LeaseLost):
        manager.add_alias("default", SIG, "In other words", lease=old)
    assert (manager.get("default", SIG).evidence, manager.get("default", SIG).aliases) == ({}, ())
    assert manager.add_evidence("default", SIG, **right, lease=new)
    assert manager.add_alias("default", SIG, "In other words", lease=new)


def test_a_success_ends_the_streak_of_failures(manager: TraceManager) -> None:
    manager.save_trace(make_trace())
    streaks = []
    for success in (False, False, True, False):
        manager.update_trace_stats("default", SIG, success=success)
        found = manager.get("default", SIG)
        assert found is not None
        streaks.append(found.failure_streak)
    assert streaks == [1, 2, 0, 1]


def test_flushed_counters_stand_beside_the_file_and_are_written_once(
    manager: TraceManager, workspace: Workspace, state: redis.Redis
) -> None:
    stored = manager.save_trace(make_trace())
    text = file_of(workspace, stored).read_text()
    manager.update_trace_stats("default", SIG, success=True, cost_micro=2_500)
    assert manager.flush_counters() == 1
    assert manager.flush_counters() == 0
    assert file_of(workspace, stored).read_text() == text
    counters = json.loads((workspace.state / "counters" / "default.json").read_text())
    assert counters[SIG]["usage_count"] == 1
    assert counters[SIG]["total_cost_micro"] == 2_500
    assert ops(state) == [b"put"]
    state.flushdb()
    assert manager.scan().added == 1
    assert manager.get("default", SIG).total_cost_micro == 2_500


# -- faults ------------------------------------------------------------------------------------


class Crash(BaseException):
    """Stands for the end of the process."""


def test_a_crash_before_the_record_leaves_nothing(
    manager: TraceManager, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = TraceFolder.stage

    def crash(self: TraceFolder, path: str, text: str) -> None:
        stage(self, path, text)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(TraceFolder, "stage", crash)
        with pytest.raises(Crash):
            manager.save_trace(make_trace())
    assert manager.find_exact("default", SIG) is None
    manager.scan()
    assert manager.list("default") == []
    left = next(workspace.traces.glob("default/.*.staged"))
    old = time.time() - 7_200
    os.utime(left, (old, old))
    manager.scan()
    assert not left.exists()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("repair", ["find", "scan"])
def test_a_crash_behind_the_record_is_finished_by_the_next_reader(
    state: redis.Redis,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    repair: str,
) -> None:
    manager = TraceManager(state, workspace)
    if version == 2:
        manager.save_trace(make_trace(answer="First."))

    def crash(self: TraceFolder, staged: str, path: str) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(TraceFolder, "publish", crash)
        with pytest.raises(Crash):
            manager.save_trace(make_trace())
    other = TraceManager(state, workspace)
    if repair == "scan":
        other.scan()
    found = other.find_exact("default", SIG)
    assert found is not None
    assert (found.version, found.answer) == (version, "Done.")
    assert from_markdown(file_of(workspace, found).read_text()) == unjudged(found)
    assert not list(workspace.traces.glob("default/.*"))


def test_an_overtaken_writer_does_not_bring_the_old_version_back(
    manager: TraceManager, workspace: Workspace
) -> None:
    first = manager.save_trace(make_trace(answer="First."))
    path = file_of(workspace, first)
    old, old_time = path.read_bytes(), path.stat().st_mtime_ns
    manager.save_trace(make_trace(answer="Second."))
    path.write_bytes(old)  # what a slow rename would leave: the old text, written before
    os.utime(path, ns=(old_time, old_time))
    found = manager.find_exact("default", SIG)
    assert found is not None
    assert found.answer == "Second."
    assert from_markdown(path.read_text()).answer == "Second."


def test_a_run_that_lost_its_lease_stores_nothing(
    manager: TraceManager, state: redis.Redis, workspace: Workspace
) -> None:
    goals = GoalStore(state, SystemClock())
    goals.create(GoalRecord(goal_id="g", text=GOAL, created_at=1.0, updated_at=1.0))
    old = goals.acquire("g", owner="w1", ttl_s=0.001)
    lease = None

    def taken() -> bool:
        nonlocal lease
        from llmos_workers.contracts.errors import LeaseHeld

        try:
            lease = goals.acquire("g", owner="w2", ttl_s=60)
        except LeaseHeld:
            return False
        return True

    from tests.support.wait import wait_until

    wait_until(taken, what="the lease runs out")
    old_lease = old[0] if isinstance(old, tuple) else old
    new_lease = lease[0] if isinstance(lease, tuple) else lease
    with pytest.raises(LeaseLost):
        manager.save_trace(make_trace(), lease=old_lease)
    assert manager.list("default") == []
    assert not list(workspace.traces.glob("default/*"))
    assert not list(workspace.traces.glob("default/.*"))
    assert manager.save_trace(make_trace(), lease=new_lease).version == 1


def test_a_workspace_that_cannot_be_written_says_so_and_is_still_read(
    manager: TraceManager, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, state: redis.Redis
) -> None:
    stored = manager.save_trace(make_trace())

    def refuse(self: Workspace, path: str, data: bytes) -> Path:
        raise WorkspaceUnwritable("read-only file system")

    monkeypatch.setattr(Workspace, "write_atomic", refuse)
    with pytest.raises(WorkspaceUnwritable):
        manager.save_trace(make_trace("another goal"))
    with pytest.raises(WorkspaceUnwritable):
        manager.save_trace(make_trace(answer="v2"))
    assert manager.find_exact("default", SIG) == stored
    assert manager.find_exact("default", goal_signature("another goal")) is None
    assert manager.update_trace_stats("default", SIG, success=True)
    assert manager.scan().problems == 0
    assert len(ops(state)) == 1
