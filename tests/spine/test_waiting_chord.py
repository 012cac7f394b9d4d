"""One chord whose members wait in every way the product has, and end so: its body runs once.

WAITING_CHILDREN is in tests/spine/test_plan.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.state import TriggerType
from llmos_workers.kernel import keys
from llmos_workers.kernel.admission import Admission
from llmos_workers.kernel.rates import Limits, ModelRates
from llmos_workers.sentience.manager import SentienceManager
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 60
MODEL = "claude-sonnet-5-5"
FLYING = "Write a haiku about storks"

MEMBERS = {
    "approved": ("w", "Write a haiku about rain", "SUCCEEDED"),
    "denied": ("w", "Write a haiku about snow", "FAILED"),
    "cancelled while asked": ("w", "Write a haiku about fog", "CANCELLED"),
    "flown": ("f", FLYING, "SUCCEEDED"),
    "cancelled in flight": ("f", FLYING, "CANCELLED"),
    "cooled": ("r", "Write a haiku about ice", "SUCCEEDED"),
    "cancelled while cooling": ("r", "Write a haiku about dew", "CANCELLED"),
    "dead": ("r", "Write a haiku about hail", "DEAD"),
    "turned": ("p", "Write a haiku about turns", "SUCCEEDED"),
    "cancelled in turn": ("p", "Write a haiku about queues", "CANCELLED"),
}
"""What becomes of a member: (letter of its project, goal, final state)."""


@pytest.fixture(autouse=True)
def clean(system, llmos):
    system.rehearsal.faults.clear()
    yield
    system.rehearsal.faults.release()
    system.rehearsal.faults.clear()
    llmos.redis.delete(keys.rate(MODEL))


def hold_a_learner_and_a_turn(llmos, system, project):
    """One goal learns what others fly for, one fills its project's window; both are held."""
    system.rehearsal.faults.next("hold:1", "hold:1")
    Admission(llmos.redis, llmos.broker, llmos.goals, window=100).set_window(f"{project}-p", 1)
    held = [
        llmos.submit(FLYING, project=f"{project}-f"),
        llmos.submit("Write a haiku about doors", project=f"{project}-p"),
    ]

    def asked():
        sent = [r for r in llmos.token_economy.reservations() if r.state == "sent"]
        return {h.id for h in held} <= {r.goal_id for r in sent}

    wait_until(asked, what="the model holds both")
    return held


def worry(llmos, project):
    manager = SentienceManager(llmos.redis, llmos.clock, llmos.config.sentience)
    for _ in range(2):
        manager.trigger(TriggerType.SAFETY_VIOLATION, "a test", project=project)


def in_state(handles, names, state):
    return all(handles[name].status() is state for name in names)


def dies(llmos, handle):
    """The member's runs have died too often; the clock gives it up, outside of any task."""
    name = keys.goal(handle.id)
    llmos.redis.hset(name, "deliveries", llmos.config.kernel.max_deliveries - 1)
    llmos.goals.acquire(handle.id, owner="ghost", ttl_s=0.01)


@pytest.mark.usefixtures("own_worker")
def test_members_that_waited_in_every_way_join_their_chord_once(
    app, results, llmos, system, project
):
    held = hold_a_learner_and_a_turn(llmos, system, project)
    worry(llmos, f"{project}-w")
    ModelRates(llmos.redis, Limits()).cool_down(MODEL, 60)
    goals = [{"goal": text, "project": f"{project}-{of}"} for of, text, _ in MEMBERS.values()]
    asked = {"goals": goals, "counter": f"joined-{project}", "queue": "plain"}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.call, "chord", asked)
        handles = wait_until(lambda: found(llmos, held, project), what="all are on record")

        cooling = ("cooled", "cancelled while cooling", "dead")
        asking = ("approved", "denied", "cancelled while asked")
        wait_until(
            lambda: (
                in_state(handles, ("flown", "cancelled in flight"), GoalState.WAITING_FLIGHT)
                and in_state(handles, ("turned", "cancelled in turn"), GoalState.PARKED)
                and in_state(handles, (*cooling, *asking), GoalState.WAITING_RATE)
            ),
            what="they wait for flight, turn and rate",
        )
        for name in ("cancelled in flight", "cancelled in turn", "cancelled while cooling"):
            assert handles[name].cancel() is GoalState.CANCELLED
        dies(llmos, handles["dead"])
        llmos.redis.delete(keys.rate(MODEL))
        for name in ("cooled", *asking):
            llmos.redis.zadd(keys.DELAYED, {handles[name].id: 1})
        wait_until(lambda: in_state(handles, asking, GoalState.WAITING_APPROVAL), what="three ask")
        requests = {a.goal_id: a.approval_id for a in llmos.approvals(project=f"{project}-w")}
        llmos.approve(requests[handles["approved"].id])
        llmos.deny(requests[handles["denied"].id], why="not here")
        assert handles["cancelled while asked"].cancel() is GoalState.CANCELLED
        system.rehearsal.faults.release()
        joined = answer.result(TIMEOUT)["joined"]
    ends = {name: status for name, (_, _, status) in MEMBERS.items()}
    assert joined == [[handles[name].id, ends[name]] for name in MEMBERS]
    assert all(h.result(TIMEOUT).ok for h in held)
    assert results.get(f"joined-{project}") == b"1"
    assert list(results.keys("celery-task-meta-*.[jt]")) == []
    wait_until(lambda: not llmos.redis.exists(keys.UNREPORTED), what="all are reported")


@pytest.mark.usefixtures("own_worker")
def test_the_callback_of_a_goal_that_waited_its_turn_runs_once(
    app, results, llmos, system, project
):
    held = hold_a_learner_and_a_turn(llmos, system, project)
    goal = {"goal": "Write a haiku about links", "project": f"{project}-p"}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.call, "linked", {"goal": goal, "counter": f"l-{project}"})
        parked = GoalState.PARKED
        wait_until(lambda: llmos.list(project=goal["project"], state=parked), what="it waits")
        system.rehearsal.faults.release()
        assert answer.result(TIMEOUT)["status"] == "SUCCEEDED"
    assert all(h.result(TIMEOUT).ok for h in held)
    wait_until(lambda: results.llen(f"l-{project}"), what="the callback ran")
    assert results.lrange(f"l-{project}", 0, -1) == [b"SUCCEEDED"]


def found(llmos, held, project):
    """The members' handles by name, once all are there."""
    there = {}
    for name, (of, text, _) in MEMBERS.items():
        records = llmos.list(project=f"{project}-{of}")
        taken = {*(h.id for h in held), *(h.id for h in there.values())}
        fits = [r for r in records if r.text == text and r.goal_id not in taken]
        fits.sort(key=lambda r: r.envelope.group_index or 0)
        if not fits:
            return None
        there[name] = llmos.get(fits[0].goal_id)
    return there
