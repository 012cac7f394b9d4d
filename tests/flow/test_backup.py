"""A system that was wiped and restored knows what it knew: replays are free, money is exact."""

from __future__ import annotations

import shutil

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.trace import Standing
from llmos_workers.kernel import state_copy
from llmos_workers.kernel.backup import write_backup
from llmos_workers.kernel.backup_files import Chosen
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.restore import restore_backup
from llmos_workers.learning.migrations import schema_of
from llmos_workers.learning.outbox import IndexOutbox
from llmos_workers.runtime import Runtime
from tests.flow.conftest import Flow
from tests.support.script import calls, says, text, use

GOAL = "Write the tide table to tides.md"
WAITS = "Write the moon table to moon.md"


def again(flow: Flow, state) -> Flow:
    """Another process on the restored system: nothing in memory, no index."""
    flow.runtime.index.close()
    runtime = Runtime(flow.runtime.config, redis=state, embedder=flow.runtime.embedder)
    runtime.gateway = flow.runtime.gateway
    return Flow(runtime, flow.server)


def test_learn_back_up_wipe_restore_and_replay_for_free(flow, state, tmp_path):
    flow.model(calls(use("Write", 1, path="tides.md", content="high 12 m\n")), says(text("Done.")))
    learned = flow.run(GOAL)
    assert (learned.ok, learned.mode) == (True, Mode.LEARNER)
    followed = flow.run(GOAL)
    assert followed.mode is Mode.FOLLOWER
    waits = flow.submit(WAITS)
    ledger = flow.runtime.economy.ledger(count=1000)
    spent = flow.runtime.economy.scope("global")
    counted = flow.trace(GOAL)
    file, root = tmp_path / "one.llmos", flow.runtime.workspace.root
    write_backup(file, state, root, chosen=Chosen(private_key=False))

    state.flushall()
    shutil.rmtree(root)
    restore_backup(file, state, flow.runtime.workspace)
    IndexOutbox(state).order_rebuild()
    schema_of(state, flow.runtime.workspace).migrate()

    assert not audit(state).faults
    restored = again(flow, state)
    assert restored.runtime.economy.ledger(count=1000) == ledger
    assert restored.runtime.economy.scope("global") == spent
    trace = restored.trace(GOAL)
    assert trace.standing is Standing.SIGNED
    assert (trace.usage_count, trace.evidence) == (counted.usage_count, counted.evidence)
    goals = GoalStore(state, restored.runtime.clock)
    assert goals.outcome(learned.goal_id) == learned
    assert goals.get(waits.goal_id) == waits
    assert (restored.area / "tides.md").read_text() == "high 12 m\n"
    (restored.area / "tides.md").unlink()
    restored.server.log.clear()
    free = restored.run(GOAL)
    assert (free.ok, free.mode, free.llm_calls, free.cost_micro) == (True, Mode.FOLLOWER, 0, 0)
    reworded = restored.run("Write the tide table into tides.md")
    assert reworded.llm_calls == 0
    assert restored.server.log.entries() == []
    assert not audit(state).faults
    restored.runtime.index.close()


def test_a_workspace_alone_brings_its_traces_back(flow, state, tmp_path):
    """Redis lost, nothing restored: the files and the counters' file are enough to replay."""
    flow.model(calls(use("Write", 1, path="tides.md", content="high 12 m\n")), says(text("Done.")))
    assert flow.run(GOAL).ok
    assert flow.run(GOAL).ok
    flow.runtime.traces.flush_counters()
    state_copy.wipe(state)
    restored = again(flow, state)
    assert restored.runtime.traces.scan().added == 1
    assert restored.trace(GOAL).usage_count == 1
    assert restored.run(GOAL).mode is Mode.FOLLOWER
    restored.runtime.index.close()
