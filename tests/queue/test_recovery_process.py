"""Real workers are killed; their goals go on, by the recovery clock of whoever lives."""

from __future__ import annotations

import json

import pytest
from celery import chord

from llmos_workers.contracts.errors import GoalNotFound
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.embedded.workers import WorkerProcess
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.delayed import DelayedGoals
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.recovery import Recovery
from llmos_workers.worker import ROLES
from tests.kernel.goal_support import a_goal
from tests.queue.conftest import Lab
from tests.queue.goal_probe_states import STATES
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

LEASE, GRACE = 1, 1
ASLEEP = [i for i, s in enumerate(STATES) if s not in (GoalState.WAITING_RATE, GoalState.PARKED)]
"""Waiting states that nobody leaves by itself, as numbers of the probe's goals."""
SETTINGS = {
    "LLMOS_TASK_MODULES": "tests.queue.probe_tasks,tests.queue.goal_probe_tasks",
    "LLMOS_KERNEL__LEASE_SECS": str(LEASE),
    "LLMOS_KERNEL__RECOVERY_GRACE_SECS": str(GRACE),
    # So long that nothing here is kombu's doing.
    "LLMOS_REDIS__VISIBILITY_TIMEOUT_SECS": "3600",
}


def worker(lab: Lab, role: str = "dispatch") -> WorkerProcess:
    return lab.worker(role, **SETTINGS)


def store(lab: Lab) -> GoalStore:
    return GoalStore(lab.state, SystemClock())


def submit(lab: Lab, text: str) -> GoalRecord:
    record = a_goal(text, now=SystemClock().now())
    store(lab).create(record)
    with lab.broker as broker:
        wire.publish(broker, [record])
    return record


def succeeds(lab: Lab, record: GoalRecord, timeout: float = 15) -> GoalRecord:
    def ended() -> GoalRecord | None:
        now = store(lab).get(record.goal_id)
        return now if now.state.final else None

    final = wait_until(ended, timeout, "the goal ends")
    assert final.state is GoalState.SUCCEEDED
    return final


def starts(lab: Lab, key: str) -> int:
    return int(lab.state.llen(f"{key}:starts"))


def test_the_goal_of_a_killed_worker_goes_on_in_the_next_one(lab: Lab) -> None:
    """kill -9 of the only worker that held it; there is nobody in between."""
    only = worker(lab)
    record = submit(lab, "hold job")
    wait_until(lambda: starts(lab, "job") == 1, what="it runs")
    lab.kill(only)
    worker(lab)
    wait_until(lambda: starts(lab, "job") == 2, what="it runs again")
    lab.state.set("job:go", 1)
    assert succeeds(lab, record).deliveries == 2
    wait_until(lambda: lab.unacked() == 0, what="no delivery is left behind")
    assert lab.state.hget(keys.COUNTERS, "recovery.died") == b"1"


@pytest.mark.parametrize("survivor", sorted(set(ROLES) - {"dispatch"}))
def test_any_role_that_lives_finds_the_goals_of_the_dead(lab: Lab, survivor: str) -> None:
    """The dispatch worker dies; a worker that serves another queue puts its goal back."""
    worker(lab, survivor)
    holder = worker(lab)
    record = submit(lab, "hold job")
    wait_until(lambda: starts(lab, "job") == 1, what="it runs")
    lab.kill(holder)
    with lab.broker as broker:
        lists = wire.queue_lists("dispatch")
        wait_until(lambda: any(broker.llen(name) for name in lists), what="it is queued again")
    assert store(lab).state(record.goal_id) is GoalState.DISPATCHED


def test_a_message_that_the_broker_lost_is_sent_again(lab: Lab) -> None:
    """Records without messages, as after a crash between the two: each runs once."""
    records = [a_goal(f"run job{i}", now=SystemClock().now()) for i in range(5)]
    store(lab).create_many(records)
    worker(lab)
    for record in records:
        succeeds(lab, record)
    assert [starts(lab, f"job{i}") for i in range(5)] == [1] * 5
    assert lab.state.hget(keys.COUNTERS, "recovery.lost") == b"5"


def test_goals_that_are_held_for_longer_than_the_grace_are_left_alone(lab: Lab) -> None:
    """One runs in each slot, others are reserved by the live worker, others wait in the list."""
    worker(lab)
    records = [submit(lab, f"hold job{i}") for i in range(12)]
    wait_until(lambda: sum(starts(lab, f"job{i}") for i in range(12)) == 2, what="slots are full")
    searches = 0
    while searches < 3:  # whole rounds of the search
        wait_until(lambda: lab.state.exists(keys.RECOVERY_PAUSE), what="a search begins")
        wait_until(lambda: not lab.state.exists(keys.RECOVERY_PAUSE), what="its pause is over")
        searches += 1
    for i in range(12):
        lab.state.set(f"job{i}:go", 1)
    for record in records:
        succeeds(lab, record)
    assert [starts(lab, f"job{i}") for i in range(12)] == [1] * 12
    assert not lab.state.hgetall(keys.COUNTERS)


def test_a_poison_goal_takes_five_workers_with_it_and_not_one_more(lab: Lab) -> None:
    victims = [worker(lab)]
    record = submit(lab, "die job")
    for number in range(1, 6):
        process = victims[-1]._process
        assert process is not None
        assert process.wait(15) != 0
        assert starts(lab, "job") == number
        victims.append(worker(lab))
    survivor = victims[-1]
    wait_until(lambda: store(lab).state(record.goal_id) is GoalState.DEAD, what="it is given up")
    result = lab.app.AsyncResult(record.goal_id)
    lab._results.append(result)
    assert result.get(timeout=60)["status"] == "DEAD"
    assert starts(lab, "job") == 5
    assert survivor.pid in lab.beating()


def waits(goals: GoalStore, goal_id: str) -> bool:
    """Whether the goal waits; no when its message was not taken yet."""
    try:
        return goals.state(goal_id).waiting
    except GoalNotFound:
        return False


def test_members_of_a_chord_that_waited_in_every_way_join_it_once(lab: Lab) -> None:
    """One parked in each waiting state, some cancelled so by a client that then dies (nobody sends
    their message but the clock), one whose worker dies: one body.
    """
    first = worker(lab)
    texts = [f"park{i} job{i}" for i in range(len(STATES))] + ["hold last", "run x"]
    texts += [f"park{i} stopped{i}" for i in ASLEEP]
    header = [lab.app.signature("llmos.goal", kwargs={"goal": t}, queue="dispatch") for t in texts]
    body = lab.app.signature("probe.bodies", queue="upkeep")
    joined = chord(header, app=lab.app)(body)
    lab._results += [joined, *joined.parent.results]
    ids = [result.id for result in joined.parent.results]
    goals = store(lab)
    wait_until(lambda: starts(lab, "last") == 1, what="one is held")
    asleep, stopped = [ids[i] for i in ASLEEP], ids[-len(ASLEEP) :]
    wait_until(lambda: all(waits(goals, i) for i in (*asleep, *stopped)), what="all wait")
    wait_until(lambda: lab.unacked() == 1, what="those that wait hold no message")
    lab.kill(first)
    worker(lab)
    worker(lab, "upkeep")
    with lab.broker as broker:
        delayed = DelayedGoals(lab.state, broker, goals)
        assert all(delayed.wake(goal_id) for goal_id in asleep)
        assert not any(delayed.wake(goal_id) for goal_id in asleep)
        assert [goals.request_cancel(i) for i in stopped] == [GoalState.CANCELLED] * len(ASLEEP)
    lab.state.set("last:go", 1)
    outcomes = joined.get(timeout=60)
    ran = texts[: -len(ASLEEP)]
    assert [outcome["text"] for outcome in outcomes[: len(ran)]] == ran
    assert {outcome["status"] for outcome in outcomes[len(ran) :]} == {"CANCELLED"}
    assert lab.state.get("bodies") == b"1"
    assert [starts(lab, f"job{i}") for i in range(len(STATES))] == [2] * len(STATES)


def test_a_tick_by_a_dying_process_delays_the_next_by_less_than_a_second(lab: Lab) -> None:
    """Whoever took the lock and died holds up nobody for long."""
    with lab.broker as broker:
        assert Recovery(lab.state, broker, lab.config.kernel).tick() is not None
    worker(lab, "upkeep")
    record = a_goal("run job", now=SystemClock().now() - 60)
    store(lab).create(record)
    with lab.broker as broker:
        lists = wire.queue_lists("dispatch")
        wait_until(lambda: any(broker.llen(each) for each in lists), what="it is sent again")
        (message,) = [m for name in lists for m in broker.lrange(name, 0, -1)]
    assert json.loads(message)["headers"]["id"] == record.goal_id
