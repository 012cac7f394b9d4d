"""Goals of several parts on real workers: a chord of goals a layer, one commit, one undo."""

from __future__ import annotations

import pytest
import redis

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.undo import Undoer
from llmos_workers.kernel.workspace import Workspace
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 90
GOAL = (
    "Write a haiku about rain into rain.md; write a haiku about snow into snow.md; "
    "copy rain.md to wet.md; copy wet.md to final.md"
)
FILES = ["final.md", "rain.md", "snow.md", "wet.md"]


def counter(llmos, name):
    return int(llmos.redis.hget(keys.COUNTERS, name) or 0)


def members(llmos, goal_id):
    found = llmos.redis.hkeys(keys.goal_members(goal_id))
    # Adopted a moment before they are on record.
    records = llmos.goals.get_many([each.decode() for each in found])
    return [record for record in records if record is not None]


def running(llmos, goal_id):
    return [m for m in members(llmos, goal_id) if m.state is GoalState.RUNNING]


def test_a_plan_is_carried_out_by_chords_and_known_the_next_time(
    llmos, project, output, served, results: redis.Redis
):
    lost = counter(llmos, "recovery.lost")
    outcome = llmos.submit(GOAL, project=project).result(TIMEOUT)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.ORCHESTRATOR), outcome
    assert sorted(p.name for p in output.iterdir()) == FILES
    # The chord's own body brought the parent back: nothing had to be recovered.
    assert counter(llmos, "recovery.lost") == lost
    groups = {r.envelope.group_id for r in members(llmos, outcome.goal_id)}
    assert len(groups) == 3
    assert list(results.keys("celery-taskset-meta-*.s")) == []
    workspace = Workspace(llmos.config.workspace)
    log = CommitLog(llmos.redis)
    undoer = Undoer(workspace, Publisher(workspace, log, SystemClock()), SystemClock())
    undoer.undo(project, outcome.goal_id, approver="me")
    assert list(output.iterdir()) == []
    before = served()
    again = llmos.submit(GOAL, project=project).result(TIMEOUT)
    assert (again.status, again.llm_calls, again.cost_micro) == ("SUCCEEDED", 0, 0), again
    assert served() == before
    assert sorted(p.name for p in output.iterdir()) == FILES


@pytest.mark.usefixtures("own_worker")
def test_a_goal_with_a_plan_is_a_member_of_its_callers_chord_to_the_end(
    app, results, llmos, project
):
    goals = [
        {"goal": GOAL, "project": project},
        {"goal": "Write a haiku about doors", "project": f"{project}-b"},
    ]
    asked = {"goals": goals, "counter": f"plan-{project}", "queue": "plain"}
    joined = app.call("chord", asked)["joined"]
    assert [status for _, status in joined] == ["SUCCEEDED", "SUCCEEDED"]
    planned = llmos.get(joined[0][0]).outcome()
    assert planned is not None
    assert planned.mode is Mode.ORCHESTRATOR
    assert results.get(f"plan-{project}") == b"1"


def test_a_plan_waits_for_a_person_and_a_cancel_reaches_all_members(llmos, system, project, output):
    handle = llmos.submit(GOAL, project=project, approve_plan=True)
    wait_until(lambda: handle.status() is GoalState.WAITING_APPROVAL, what="the plan is shown")
    (asked,) = llmos.approvals(project=project)
    assert "copy wet.md to final.md" in asked.shown.lower()
    assert members(llmos, handle.id) == []
    system.rehearsal.faults.next("hold:1", "hold:1")
    llmos.approve(asked.approval_id)
    try:
        wait_until(
            lambda: len(running(llmos, handle.id)) == 2,
            what="two members ask the model",
        )
        wait_until(lambda: handle.status() is GoalState.WAITING_CHILDREN, what="their parent waits")
        assert handle.cancel() is GoalState.CANCELLED
        wait_until(
            lambda: all(m.state is GoalState.CANCELLED for m in members(llmos, handle.id)),
            what="the members end",
        )
    finally:
        system.rehearsal.faults.release()
        system.rehearsal.faults.clear()
    assert list(output.iterdir()) == []
    wait_until(lambda: not llmos.redis.exists(keys.UNREPORTED), what="all are reported")
