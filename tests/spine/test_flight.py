"""Single flight on the real system: many copies of a new goal cost one learning run."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 120
HAIKU = "Write a haiku about copies"
NO_SKILL = "Negotiate peace between two fictional planets"


@pytest.fixture(autouse=True)
def holding(system):
    """The model can be held again, whatever an earlier test released."""
    system.rehearsal.faults.clear()
    yield
    system.rehearsal.faults.release()
    system.rehearsal.faults.clear()


@contextmanager
def thinking_stopped(system):
    """Nobody learns inside of the block."""
    (pid,) = [pid for name, pid in system.stack.workers.items() if name.startswith("llm")]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def modes(outcomes):
    return sorted(str(o.mode) for o in outcomes)


def waiting(handles):
    return [h for h in handles if h.status() is GoalState.WAITING_FLIGHT]


def answered(system, family=None):
    entries = system.rehearsal.log.entries()
    return sum(e.status == 200 for e in entries if family in (None, e.family))


def spent(llmos, project):
    return llmos.token_economy.scope(f"project:{project}")["spent"]


def test_two_hundred_copies_cost_one_learning_run(llmos, system, project):
    before = answered(system)
    handles = llmos.submit_many([HAIKU] * 200, project=project)
    outcomes = [h.result(TIMEOUT) for h in handles]
    assert {o.status for o in outcomes} == {"SUCCEEDED"}
    learned = [o for o in outcomes if o.mode is not Mode.FOLLOWER]
    assert [o.mode for o in learned] == [Mode.LEARNER]
    assert answered(system) - before == learned[0].llm_calls
    assert spent(llmos, project) == learned[0].cost_micro > 0


def test_goals_of_one_template_wait_for_its_slots(llmos, system, project, output):
    for name in ("sales", "prices", "orders"):
        (output / f"{name}.csv").write_text(name)
    texts = [f"Copy {name}.csv to old-{name}.csv" for name in ("sales", "prices", "orders")]
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit(texts[0], project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first one learns")
    others = llmos.submit_many(texts[1:], project=project)
    wait_until(lambda: len(waiting(others)) == 2, what="the others wait")
    system.rehearsal.faults.release()
    outcomes = [h.result(TIMEOUT) for h in (first, *others)]
    assert modes(outcomes) == ["FOLLOWER", "FOLLOWER", "LEARNER"]
    assert (output / "old-orders.csv").read_text() == "orders"


def test_a_goal_that_the_trace_does_not_fit_goes_its_own_way(llmos, system, project):
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit('Write a haiku about "rain"', project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first one learns")
    other = llmos.submit('Write a haiku about "snow"', project=project)
    wait_until(lambda: waiting([other]), what="the other waits")
    system.rehearsal.faults.release()
    assert first.result(TIMEOUT).ok
    outcome = other.result(TIMEOUT)
    assert outcome.ok
    assert outcome.mode is not Mode.FOLLOWER


def test_whoever_asks_for_a_model_does_not_wait(llmos, system, project):
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit("Write a haiku about ice", project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first one learns")
    other = llmos.submit("Write a haiku about ice", project=project, mode="learner")
    assert other.result(TIMEOUT).mode is Mode.LEARNER
    system.rehearsal.faults.release()
    assert first.result(TIMEOUT).ok


def test_after_a_failure_one_goes_on_and_after_a_few_all_are_told(llmos, system, project, served):
    before = served()
    with thinking_stopped(system):
        handles = llmos.submit_many([NO_SKILL] * 12, project=project)
        wait_until(lambda: len(waiting(handles)) == 11, what="all but one wait")
    outcomes = [h.result(TIMEOUT) for h in handles]
    assert {o.status for o in outcomes} == {"FAILED"}
    told = [o for o in outcomes if o.error.message.startswith("not tried")]
    assert len(told) == 9
    assert {o.error.kind for o in told} == {o.error.kind for o in outcomes}
    assert served() - before == sum(o.llm_calls for o in outcomes)


def test_a_budget_that_does_not_suffice_is_tried_by_few(llmos, system, project):
    with thinking_stopped(system):
        texts = ["Write a haiku about gold"] * 12
        handles = llmos.submit_many(texts, project=project, budget_usd=1e-6)
        wait_until(lambda: len(waiting(handles)) == 11, what="all but one wait")
    outcomes = [h.result(TIMEOUT) for h in handles]
    assert {(o.status, o.error.kind) for o in outcomes} == {("REJECTED", "BudgetExceeded")}
    assert sum(o.error.message.startswith("not tried") for o in outcomes) == 9


def test_a_cancelled_learner_is_followed_by_one(llmos, system, project):
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit("Write a haiku about fog", project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first one learns")
    others = llmos.submit_many(["Write a haiku about fog"] * 5, project=project)
    wait_until(lambda: len(waiting(others)) == 5, what="the others wait")
    first.cancel()
    system.rehearsal.faults.release()
    assert first.result(TIMEOUT).status == "CANCELLED"
    outcomes = [h.result(TIMEOUT) for h in others]
    assert modes(outcomes) == ["FOLLOWER"] * 4 + ["LEARNER"]


def test_a_goal_that_waits_can_be_cancelled_and_has_its_own_deadline(llmos, system, project):
    system.rehearsal.faults.next("hold:1")
    first = llmos.submit("Write a haiku about dew", project=project)
    wait_until(lambda: first.status() is GoalState.RUNNING, what="the first one learns")
    one = llmos.submit("Write a haiku about dew", project=project)
    two = llmos.submit("Write a haiku about dew", project=project, deadline=llmos.clock.now() + 3)
    wait_until(lambda: waiting([one]), what="it waits")
    assert one.cancel() is GoalState.CANCELLED
    assert two.result(TIMEOUT).error.kind == "DeadlineExceeded"
    system.rehearsal.faults.release()
    assert first.result(TIMEOUT).ok
    name = keys.goal(first.id)
    wait_until(lambda: not llmos.redis.hexists(name, "flight"), what="the flight has landed")


def test_the_death_of_the_learners_worker_costs_no_second_learner(llmos, system, project):
    system.rehearsal.faults.next("hold:1")
    handles = llmos.submit_many(["Write a haiku about hail"] * 20, project=project)
    wait_until(lambda: len(waiting(handles)) == 19, what="all but one wait")
    (learner,) = [h for h in handles if h.status() is GoalState.RUNNING]
    (pid,) = [pid for name, pid in system.stack.workers.items() if name.startswith("llm")]
    os.kill(pid, signal.SIGKILL)
    outcomes = [h.result(TIMEOUT) for h in handles]
    system.rehearsal.faults.release()
    assert modes(outcomes) == ["FOLLOWER"] * 19 + ["LEARNER"]
    assert learner.record().deliveries == 2
    assert spent(llmos, project) == learner.outcome().cost_micro


COLLECT = "Collect the names of the Markdown files"


def break_its_replays(llmos, project, output):
    """A goal that is known, and that no replay can do any more; only a replay finds that out."""
    (output / "a.md").touch()
    learned = llmos.submit(COLLECT, project=project).result(TIMEOUT)
    assert learned.ok, learned.error
    assert llmos.submit(COLLECT, project=project).result(TIMEOUT).mode is Mode.FOLLOWER
    (output / "b.md").touch()


def test_twenty_replays_that_break_at_once_are_mended_once(llmos, system, project, output):
    break_its_replays(llmos, project, output)
    before, paid = answered(system), spent(llmos, project)
    system.rehearsal.faults.next("hold:1")
    handles = llmos.submit_many([COLLECT] * 20, project=project)
    wait_until(lambda: len(waiting(handles)) == 19, what="one mends, the others wait")
    system.rehearsal.faults.release()
    outcomes = [h.result(TIMEOUT) for h in handles]
    assert {o.status for o in outcomes} == {"SUCCEEDED"}
    assert modes(outcomes) == ["FOLLOWER"] * 19 + ["MIXED"]
    (healed,) = [o for o in outcomes if o.mode is Mode.MIXED]
    assert answered(system) - before == healed.llm_calls
    assert spent(llmos, project) - paid == healed.cost_micro > 0
    assert {o.trace_version for o in outcomes if o is not healed} == {2}
    assert all("b.md" in o.text for o in outcomes)
    trace = llmos.trace_manager.get(project, healed.learned_trace_id)
    assert (trace.usage_count - trace.success_count, trace.failure_streak) == (1, 0)


def test_who_cannot_mend_is_followed_by_one(llmos, system, project, output):
    break_its_replays(llmos, project, output)
    before = answered(system)
    with thinking_stopped(system):
        handles = llmos.submit_many([COLLECT] * 6, project=project)
        wait_until(lambda: len(waiting(handles)) == 5, what="one is to mend, the others wait")
        system.rehearsal.faults.next("stop_reason:refusal")
    outcomes = [h.result(TIMEOUT) for h in handles]
    assert modes(outcomes) == ["FOLLOWER"] * 4 + ["MIXED"] * 2
    assert [o.mode for o in outcomes if not o.ok] == [Mode.MIXED]
    assert answered(system) - before == sum(o.llm_calls for o in outcomes)
