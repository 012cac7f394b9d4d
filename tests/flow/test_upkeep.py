"""The duties of upkeep: each does its work, says what it did, and may run again."""

import json
from importlib import import_module

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.kernel import keys
from tests.kernel.goal_support import an_outcome, expire_lease

CALCULATOR = "Create a Python calculator"


def duty(flow, name):
    return DUTIES[name](flow.runtime)


def all_duties(flow, monkeypatch):
    # By name: the package shows the task in its module's place.
    door = import_module("llmos_workers.tasks.upkeep")
    monkeypatch.setattr(door, "process_of", lambda _app: flow.process)
    return door.upkeep.run()


def trace_file(flow):
    folder = flow.runtime.workspace.root / "memories" / "traces" / "demo"
    (path,) = folder.glob("*.md")
    return path


def test_scan_picks_up_what_people_changed(flow):
    assert flow.run(CALCULATOR).ok
    assert duty(flow, "scan_traces").startswith("0 added, 0 changed, 0 removed")
    path = trace_file(flow)
    path.write_text(path.read_text().replace(CALCULATOR, "Create a Python abacus"))
    assert "1 changed" in duty(flow, "scan_traces")
    refused = flow.run("Create a Python abacus")
    assert (refused.mode, "edited by hand" in refused.reason) == (Mode.LEARNER, True)
    trace_id = flow.runtime.traces.list("demo")[0].trace_id
    assert flow.runtime.traces.approve("demo", trace_id, by="ann")
    assert flow.run("Create a Python abacus").mode is Mode.FOLLOWER
    path.unlink()
    assert "1 removed" in duty(flow, "scan_traces")
    assert flow.runtime.traces.list("demo") == []


def test_counters_are_written_into_the_file_once(flow):
    assert flow.run(CALCULATOR).ok
    assert flow.run(CALCULATOR).mode is Mode.FOLLOWER
    assert duty(flow, "flush_counters") == "1 written"
    assert "usage_count" not in trace_file(flow).read_text()
    assert duty(flow, "flush_counters") == "0 written"
    assert flow.run(CALCULATOR).mode is Mode.FOLLOWER


def test_the_internal_state_is_kept_and_comes_back_when_redis_lost_it(flow, state):
    for _ in range(3):
        flow.runtime.feel(TriggerType.TASK_FAILURE, "a test", project="demo")
    before = flow.runtime.sentience.get_state("demo")
    assert duty(flow, "snapshot_state") == "1 written, 0 restored"
    path = flow.runtime.workspace.project("demo").state / "sentience.json"
    assert json.loads(path.read_text())["last_trigger"] == "task_failure"
    state.flushdb()
    assert duty(flow, "snapshot_state") == "0 written, 1 restored"
    after = flow.runtime.sentience.get_state("demo")
    assert after.update_count == before.update_count
    assert after.valence.safety == pytest.approx(before.valence.safety, abs=0.05)
    assert duty(flow, "snapshot_state") == "1 written, 0 restored"


def test_a_broken_snapshot_stops_nothing(flow):
    path = flow.runtime.workspace.project("demo").state / "sentience.json"
    path.write_text("{broken")
    assert duty(flow, "snapshot_state") == "0 written, 0 restored"


def reserve(flow, record, fence):
    return flow.runtime.economy.reserve(
        goal_id=record.goal_id,
        project="demo",
        model=flow.runtime.config.sdk.model,
        bound_micro=1000,
        purpose="learn",
        fence=fence,
    )


def test_money_of_dead_runs_is_returned_or_in_doubt(flow, state):
    goals, economy = flow.runtime.goals, flow.runtime.economy
    dead, live = flow.submit("A dead run"), flow.submit("A live run")
    fence = goals.acquire(dead.goal_id, owner="dead", ttl_s=30)[0].fence
    reserve(flow, dead, fence)
    economy.mark_sent(reserve(flow, dead, fence))
    alive = goals.acquire(live.goal_id, owner="live", ttl_s=30)[0].fence
    reserve(flow, live, alive)
    expire_lease(state, dead.goal_id)
    assert duty(flow, "reclaim_money") == "1 released, 1 doubt"
    sums = economy.scope("global")
    assert (sums["reserved"], sums["in_doubt"], sums["spent"]) == (1000, 1000, 0)
    assert duty(flow, "reclaim_money") == "0 released, 0 doubt"


def test_old_finished_goals_are_forgotten(flow, state):
    old, young = flow.submit("An old goal"), flow.submit("A young goal")
    for record in (old, young):
        flow.runtime.goals.finish(an_outcome(record.goal_id), fence=None)
    past = flow.runtime.clock.now() - flow.runtime.config.kernel.result_retention_secs - 60
    state.zadd(keys.goals_in_state(flow.runtime.goals.state(old.goal_id)), {old.goal_id: past})
    assert duty(flow, "prune_goals") == "1 forgotten"
    assert [r.goal_id for r in flow.runtime.goals.list()] == [young.goal_id]


def test_a_duty_that_fails_does_not_stop_the_others(flow, monkeypatch):
    folder = flow.runtime.workspace.root / "projects"
    flow.runtime.feel(TriggerType.TASK_FAILURE, "a test", project="demo")
    place = folder / "demo" / "state"
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    place.write_text("a file in the folder's place")
    done = all_duties(flow, monkeypatch)
    assert list(done) == list(DUTIES)
    assert done["snapshot_state"].startswith("failed:")
    assert done["prune_goals"] == "0 forgotten"


def test_a_duty_with_a_fault_of_its_own_does_not_stop_the_others(flow, monkeypatch):
    def broken(_runtime):
        raise ZeroDivisionError

    monkeypatch.setitem(DUTIES, "scan_traces", broken)
    done = all_duties(flow, monkeypatch)
    assert done["scan_traces"] == "failed: ZeroDivisionError"
    assert done["prune_goals"] == "0 forgotten"
