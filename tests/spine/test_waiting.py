"""Goals that wait hold no worker, and go on as the same task."""

import json
from datetime import timedelta

import pytest

from llmos_workers.contracts.errors import ApprovalClosed
from llmos_workers.contracts.goal import GoalOptions, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.kernel import keys
from llmos_workers.kernel.admission import Admission
from llmos_workers.sentience.manager import SentienceManager
from tests.support.wait import wait_until

TIMEOUT = 60
MODEL = "claude-sonnet-5-5"
CALCULATOR = "Create a Python calculator"


@pytest.fixture(autouse=True)
def warm_again(llmos, system):
    """No later test waits for a cooldown of this one, and held answers are held."""
    system.rehearsal.faults.clear()
    yield
    llmos.redis.delete(keys.rate(MODEL))


def test_a_rate_limit_is_waited_out_in_the_queue_and_nothing_is_paid_twice(
    llmos, system, project, served
):
    """The endpoint refuses the second call for longer than a worker waits."""
    before = served()
    system.rehearsal.faults.next("slow:0", "rate_limit:9")
    handle = llmos.submit(CALCULATOR, project=project)
    wait_until(lambda: handle.status() is GoalState.WAITING_RATE, what="the goal waits")
    record = handle.record()
    assert (record.lease_owner, record.deliveries) == (None, 0)
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.LEARNER)
    assert outcome.llm_calls == 3
    assert served() - before == 4, "three answers and one refusal: none was bought twice"
    entries = [e for e in llmos.token_economy.ledger(count=10_000) if e.goal_id == handle.id]
    assert sum(entry.micro for entry in entries) == outcome.cost_micro


def test_a_cooling_model_is_cold_for_everybody(llmos, system, project):
    system.rehearsal.faults.next("rate_limit:9")
    first = llmos.submit(CALCULATOR, project=project)
    wait_until(lambda: first.status() is GoalState.WAITING_RATE, what="the first goal waits")
    second = llmos.submit("Write a haiku about rain", project=project)
    wait_until(lambda: second.status() is GoalState.WAITING_RATE, what="the second waits too")
    assert first.result(TIMEOUT).ok
    assert second.result(TIMEOUT).ok


def test_a_goal_that_waits_can_be_cancelled(llmos, system, project):
    system.rehearsal.faults.next("rate_limit:600")
    handle = llmos.submit(CALCULATOR, project=project)
    wait_until(lambda: handle.status() is GoalState.WAITING_RATE, what="the goal waits")
    assert handle.cancel() is GoalState.CANCELLED
    assert handle.result(TIMEOUT).status == "CANCELLED"


def worried(llmos, project):
    """A project whose safety is low: shell and writes need a person's yes."""
    manager = SentienceManager(llmos.redis, llmos.clock, llmos.config.sentience)
    for _ in range(2):
        state = manager.trigger(TriggerType.SAFETY_VIOLATION, "a test", project=project)
    assert -0.5 < state.valence.safety < 0


def open_approval(llmos, handle):
    def asked():
        return [a for a in llmos.approvals() if a.goal_id == handle.id]

    (found,) = wait_until(asked, what="the goal asks")
    wait_until(lambda: handle.status() is GoalState.WAITING_APPROVAL, what="the goal waits")
    return found


def test_a_call_that_needs_a_yes_waits_for_it_and_runs_once(llmos, project, output, served):
    worried(llmos, project)
    before = served()
    handle = llmos.submit(CALCULATOR, project=project)
    write = open_approval(llmos, handle)
    assert (write.tool, list(output.iterdir())) == ("Write", [])
    assert "calculator.py" in write.shown
    llmos.approve(write.approval_id, by="a tester")
    bash = open_approval(llmos, handle)
    assert (bash.tool, list(output.iterdir())) == ("Bash", []), "nothing is published yet"
    llmos.approve(bash.approval_id)
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "SUCCEEDED"
    assert (output / "calculator.py").is_file()
    assert served() - before == outcome.llm_calls == 3, "no answer was bought again"
    assert llmos.approval_requests.get(write.approval_id).decided_by == "a tester"


def test_a_no_is_told_to_the_model_and_the_call_never_runs(llmos, project, output):
    worried(llmos, project)
    handle = llmos.submit(CALCULATOR, project=project)
    llmos.deny(open_approval(llmos, handle).approval_id, why="not here", by="a tester")
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "FAILED"
    assert "not here" in f"{outcome.text} {outcome.error}"
    assert not list(output.iterdir())


def test_a_goal_that_waits_for_a_yes_can_be_cancelled(llmos, project, output):
    worried(llmos, project)
    handle = llmos.submit(CALCULATOR, project=project)
    asked = open_approval(llmos, handle)
    assert handle.cancel() is GoalState.CANCELLED
    assert handle.result(TIMEOUT).status == "CANCELLED"
    wait_until(lambda: not llmos.approvals(project=project), what="nobody is asked any more")
    with pytest.raises(ApprovalClosed):
        llmos.approve(asked.approval_id)
    assert not list(output.iterdir())


def let_pass(llmos, handle):
    """The goal's deadline is over now, for which it was to be woken."""
    options = handle.record().options
    assert llmos.redis.zscore(keys.DELAYED, handle.id) == pytest.approx(options.deadline)
    passed = options.model_copy(update={"deadline": llmos.clock.now()})
    llmos.redis.hset(keys.goal(handle.id), "options", passed.model_dump_json())
    llmos.redis.zadd(keys.DELAYED, {handle.id: 1})


def test_a_deadline_ends_a_goal_wherever_it_waits(llmos, system, project, results):
    """Even where its project has no room for it, and for Celery too; nobody is asked any more."""
    worried(llmos, project)
    soon, faults, busy = timedelta(minutes=5), system.rehearsal.faults, f"{project}-b"
    asking = llmos.submit(CALCULATOR, project=project, deadline=soon)
    approval = open_approval(llmos, asking)
    faults.next("hold:1")
    held = llmos.submit("Write a haiku about mist", project=busy)
    wait_until(lambda: not faults.untaken, what="the model is asked")
    flying = llmos.submit("Write a haiku about mist", project=busy, deadline=soon)
    wait_until(lambda: flying.status() is GoalState.WAITING_FLIGHT, what="it waits for the other")
    Admission(llmos.redis, llmos.broker, llmos.goals, window=100).set_window(busy, 1)
    parked = llmos.submit("Write a haiku about dusk", project=busy, deadline=soon)
    faults.next("rate_limit:600")
    cooling = llmos.submit(CALCULATOR, project=f"{project}-r", deadline=soon)
    waiting = {parked: GoalState.PARKED, cooling: GoalState.WAITING_RATE}
    wait_until(lambda: all(h.status() is s for h, s in waiting.items()), what="all wait")
    late = (asking, flying, parked, cooling)
    for handle in late:
        let_pass(llmos, handle)
    for handle in late:
        outcome = handle.result(TIMEOUT)
        assert (outcome.status, outcome.error.kind) == ("FAILED", "DeadlineExceeded")
        assert "deadline has passed" in outcome.error.message
        told = wait_until(lambda h=handle: results.get(f"celery-task-meta-{h.id}"), what="Celery")
        assert json.loads(told)["result"]["status"] == "FAILED"
    assert llmos.approvals(project=project) == []
    assert llmos.approval_requests.get(approval.approval_id).state == "expired"
    llmos.redis.delete(keys.rate(MODEL))
    faults.release()
    assert held.result(TIMEOUT).ok


def test_a_schedule_submits_its_goal(llmos, project):
    made = llmos.schedules.add(
        "* * * * *", "Write a haiku about tides", options=GoalOptions(project=project)
    )
    # Moved so that its next minute is over: nothing here waits for a clock.
    past = llmos.clock.now() - 61
    llmos.redis.hset(keys.schedule(made.schedule_id), "next_at", repr(past))
    llmos.redis.zadd(keys.SCHEDULES_DUE, {made.schedule_id: past})
    try:
        goals = wait_until(lambda: llmos.list(project=project), what="the goal is submitted")
        assert goals[-1].text == "Write a haiku about tides"
        assert llmos.get(goals[-1].goal_id).result(TIMEOUT).ok
    finally:
        llmos.schedules.remove(made.schedule_id)


def test_a_projects_goals_can_be_made_to_run_one_after_the_other(llmos, system, project):
    """A window of 1: the second goal is parked until the first one ends."""
    broker = llmos.broker
    Admission(llmos.redis, broker, llmos.goals, window=100).set_window(project, 1)
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit(CALCULATOR, project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first goal runs")
    second = llmos.submit("Write a haiku about wind", project=project)
    wait_until(lambda: second.status() is GoalState.PARKED, what="the second waits its turn")
    system.rehearsal.faults.release()
    assert first.result(TIMEOUT).ok
    assert second.result(TIMEOUT).ok
