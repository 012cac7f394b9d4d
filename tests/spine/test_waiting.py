"""Goals that wait hold no worker, and go on as the same task."""

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from tests.support.wait import wait_until

TIMEOUT = 60
MODEL = "claude-sonnet-5-5"
CALCULATOR = "Create a Python calculator"


@pytest.fixture(autouse=True)
def warm_again(llmos):
    """No later test waits for a cooldown of this one."""
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
