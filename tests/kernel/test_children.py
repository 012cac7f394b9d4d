"""Members of a plan: the parent waits without a worker, and goes on after the last, once."""

from __future__ import annotations

import uuid

import pytest

from llmos_workers.contracts.errors import Cancelled, GoalFinished, LeaseLost
from llmos_workers.contracts.goal import GoalRecord, GoalState, Member
from llmos_workers.kernel import keys
from llmos_workers.kernel.children import Children, Place
from llmos_workers.kernel.lease import Lease
from tests.kernel.goal_support import a_goal, an_outcome, expire_lease
from tests.kernel.recovery_support import System

S = GoalState


class Plan:
    """A parent that runs, and its members on record."""

    def __init__(self, system: System, width: int = 3) -> None:
        self.system = system
        self.children = Children(system.state, system.broker, system.goals)
        (self.parent,) = system.submit(1)
        system.broker.flushdb()
        self.lease, _ = system.goals.acquire(self.parent.goal_id, owner="w")
        self.members = [self.member(f"s{n}") for n in range(width)]

    def member(self, step: str) -> GoalRecord:
        parent = self.parent.goal_id
        asked = a_goal(f"do {step}")
        member = Member(parent_id=parent, depth=1, step=step, place=f"default@{parent}")
        options = asked.options.model_copy(update={"member": member})
        return asked.model_copy(update={"goal_id": str(uuid.uuid4()), "options": options})

    def adopt(self, lease: Lease | None = None) -> int:
        places = {m.goal_id: Place(m.options.member.step, 1) for m in self.members}
        live = self.children.adopt(lease or self.lease, places)
        self.system.goals.create_many(self.members)
        return live

    def park(self) -> bool:
        return self.system.delayed.park(
            self.lease, state=S.WAITING_CHILDREN, due=None, reason="members work"
        )

    def end(self, member: GoalRecord, state: GoalState = S.SUCCEEDED) -> None:
        self.system.goals.finish(an_outcome(member.goal_id, state), fence=None)

    @property
    def state(self) -> GoalState:
        return self.system.goals.state(self.parent.goal_id)


@pytest.fixture
def system(state, redis_server) -> System:
    import redis

    return System(state, redis.Redis.from_url(f"{redis_server}/0"))


@pytest.mark.parametrize("end", [S.SUCCEEDED, S.FAILED, S.REJECTED, S.DEAD, S.PARTIAL])
def test_the_last_member_lets_the_parent_go_on_whatever_its_end(system: System, end) -> None:
    plan = Plan(system)
    assert plan.adopt() == 3
    assert plan.park()
    for member in plan.members[:-1]:
        plan.end(member)
        plan.end(member)  # a second outcome changes nothing, and counts for nothing
        assert plan.state is S.WAITING_CHILDREN
    plan.end(plan.members[-1], end)
    assert plan.state is S.ACCEPTED
    assert system.queued() == []  # the message is the chord's
    assert plan.children.join(plan.parent.goal_id)
    assert system.queued() == [plan.parent.goal_id]


def test_members_that_ended_before_their_parent_waits_do_not_keep_it(system: System) -> None:
    plan = Plan(system)
    plan.adopt()
    for member in plan.members:
        plan.end(member)
    assert not plan.park()
    assert plan.state is S.RUNNING


def test_a_member_that_a_producer_cancels_is_counted_by_the_clock(system: System) -> None:
    """No script ran, and the message that would tell is lost, too."""
    plan = Plan(system, width=1)
    plan.adopt()
    plan.park()
    assert system.goals.request_cancel(plan.members[0].goal_id) is S.CANCELLED
    assert plan.children.live(plan.parent.goal_id) == set()
    assert plan.state is S.WAITING_CHILDREN
    assert plan.children.tick() == 1
    assert plan.state is S.ACCEPTED
    assert system.queued() == [plan.parent.goal_id]
    assert plan.children.tick() == 0


def test_the_clock_finds_members_that_are_gone_and_leaves_those_that_live(system: System) -> None:
    plan = Plan(system, width=2)
    plan.adopt()
    plan.park()
    assert plan.children.tick() == 0
    assert len(plan.children.live(plan.parent.goal_id)) == 2
    for member in plan.members:
        system.state.delete(keys.goal(member.goal_id))
    assert plan.children.tick() == 1


def test_the_clock_goes_round_over_many_parents(system: System) -> None:
    plans = [Plan(system, width=1) for _ in range(120)]
    for plan in plans:
        plan.adopt()
        plan.park()
    for plan in plans:
        system.goals.request_cancel(plan.members[0].goal_id)
    assert sum(plan.children.tick() for _ in range(8)) == 120


def test_a_member_is_adopted_once_and_a_dead_run_adopts_nobody(system: System) -> None:
    plan = Plan(system)
    plan.adopt()
    plan.end(plan.members[0])
    assert plan.adopt() == 2  # the run that comes after a crash: what ended stays ended
    expire_lease(system.state, plan.parent.goal_id)
    with pytest.raises(LeaseLost):
        plan.adopt()


def test_a_goal_that_was_asked_to_stop_adopts_nobody(system: System) -> None:
    plan = Plan(system)
    system.goals.request_cancel(plan.parent.goal_id)
    with pytest.raises(Cancelled):
        plan.adopt()


def test_members_of_a_goal_that_ended_are_asked_to_end(system: System) -> None:
    plan = Plan(system)
    plan.adopt()
    works, _ = system.goals.acquire(plan.members[0].goal_id, owner="w2")
    plan.park()
    system.goals.request_cancel(plan.parent.goal_id)
    assert plan.children.end_all(plan.parent.goal_id) == 3
    states = [system.goals.state(m.goal_id) for m in plan.members]
    assert states == [S.RUNNING, S.CANCELLED, S.CANCELLED]
    assert system.goals.cancel_requested(works.goal_id)
    assert sorted(system.queued()) == sorted(m.goal_id for m in plan.members[1:])
    with pytest.raises(GoalFinished):
        plan.children.adopt(plan.lease, {"late": Place("s9", 1)})


def test_sending_members_off_is_progress_that_forgets_starts_that_died(system: System) -> None:
    plan = Plan(system)
    for _ in range(3):
        expire_lease(system.state, plan.parent.goal_id)
        plan.lease, record = system.goals.acquire(plan.parent.goal_id, owner="w")
    assert record.deliveries == 4
    plan.adopt()
    plan.park()
    assert system.goals.get(plan.parent.goal_id).deliveries == 0


def test_a_lost_body_of_the_chord_is_sent_again_by_the_clock(system: System) -> None:
    plan = Plan(system, width=1)
    plan.adopt()
    plan.park()
    plan.end(plan.members[0])
    system.state.zadd(keys.goals_in_state(S.ACCEPTED), {plan.parent.goal_id: 1.0})
    assert system.search().lost == 1
    assert system.queued() == [plan.parent.goal_id]
