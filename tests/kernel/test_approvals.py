"""Approvals: bound to one call, used once, ended with the goal."""

import threading

import pytest

from llmos_workers.contracts.approvals import ApprovalState, LimitRaise
from llmos_workers.contracts.errors import (
    ApprovalClosed,
    GoalFinished,
    GoalNotFound,
    InvalidOption,
    LeaseLost,
    NotThere,
    ToolDenied,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel import keys
from llmos_workers.kernel.approvals import Approvals
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.goal_support import a_goal, an_outcome

A = ToolCall(name="Bash", arguments={"command": "deploy a"})
B = ToolCall(name="Bash", arguments={"command": "deploy b"})
S = ApprovalState


@pytest.fixture
def goals(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def goal(goals):
    """A goal that waits for approval."""
    goal_id = goals.create(a_goal())[0].goal_id
    goals.transition(goal_id, GoalState.WAITING_APPROVAL)
    return goal_id


@pytest.fixture
def woken():
    return []


@pytest.fixture
def approvals(state, woken):
    return Approvals(state, wake=woken.append)


def ask(approvals, goal, call=A, **more):
    return approvals.request(goal, call, project="default", rule="r", reason="because", **more)


def overdue(state, approval_id):
    """As if the request had waited past its time."""
    state.hset(keys.approval(approval_id), "expires_at", "1.0")
    if state.zscore(keys.APPROVALS_OPEN, approval_id) is not None:
        state.zadd(keys.APPROVALS_OPEN, {approval_id: 1.0})


def end(goals, goal_id):
    goals.finish(an_outcome(goal_id, GoalState.FAILED), fence=None)


def test_a_request_tells_everything_and_waits(approvals, goal):
    one = ask(approvals, goal, step=3)
    assert (one.state, one.goal_id, one.step, one.rule) == (S.PENDING, goal, 3, "r")
    assert one.digest == A.digest()
    assert "deploy a" in one.shown
    assert one.expires_at - one.created_at == pytest.approx(86_400)
    assert approvals.pending() == [one]
    assert approvals.pending(project="other") == []
    assert not approvals.consume(goal, A.digest())


def test_asking_again_while_pending_is_the_same_request(approvals, goal):
    first = ask(approvals, goal)
    assert ask(approvals, goal) == first
    assert ask(approvals, goal, B).approval_id != first.approval_id
    assert len(approvals.pending()) == 2


def test_a_yes_lets_the_call_run_once(approvals, goal, woken):
    one = ask(approvals, goal)
    said = approvals.approve(one.approval_id, by="eva", why="fine")
    assert (said.state, said.decided_by, said.why) == (S.APPROVED, "eva", "fine")
    assert said.decided_at >= one.created_at
    assert woken == [goal]
    assert approvals.consume(goal, A.digest())
    assert not approvals.consume(goal, A.digest())
    assert approvals.get(one.approval_id).state is S.USED


def test_an_approved_a_never_runs_b(approvals, goals, goal):
    other = goals.create(a_goal("another"))[0].goal_id
    approvals.approve(ask(approvals, goal).approval_id)
    assert not approvals.consume(goal, B.digest())
    assert not approvals.consume(other, A.digest())
    assert approvals.consume(goal, A.digest())


def test_many_consumers_one_run(approvals, goal):
    approvals.approve(ask(approvals, goal).approval_id)
    won = []
    threads = [
        threading.Thread(target=lambda: won.append(approvals.consume(goal, A.digest())))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 15 + [True]


def test_after_its_use_the_same_call_is_asked_about_anew(approvals, goal):
    first = ask(approvals, goal)
    approvals.approve(first.approval_id)
    approvals.consume(goal, A.digest())
    second = ask(approvals, goal)
    assert second.state is S.PENDING
    assert second.approval_id != first.approval_id
    with pytest.raises(ApprovalClosed):
        approvals.deny(first.approval_id)


def test_a_no_stays_for_that_goal_and_call(approvals, goals, goal, woken):
    one = ask(approvals, goal)
    assert approvals.deny(one.approval_id, why="too risky").state is S.DENIED
    assert woken == [goal]
    again = ask(approvals, goal)
    assert (again.state, again.approval_id, again.why) == (S.DENIED, one.approval_id, "too risky")
    assert not approvals.consume(goal, A.digest())
    with pytest.raises(ApprovalClosed):
        approvals.approve(one.approval_id)
    other = goals.create(a_goal("another"))[0].goal_id
    assert ask(approvals, other).state is S.PENDING


def test_a_yes_can_be_taken_back_until_used(approvals, goal):
    one = ask(approvals, goal)
    approvals.approve(one.approval_id)
    approvals.deny(one.approval_id, why="no after all")
    assert not approvals.consume(goal, A.digest())


def test_saying_yes_twice_keeps_the_first_answer(approvals, goal):
    one = ask(approvals, goal)
    approvals.approve(one.approval_id, by="eva")
    assert approvals.approve(one.approval_id, by="ivo").decided_by == "eva"


def test_silence_expires_and_counts_as_a_no(approvals, goal, state, woken):
    one = ask(approvals, goal)
    overdue(state, one.approval_id)
    assert approvals.expire_due(SystemClock().now()) == 1
    assert approvals.pending() == []
    again = ask(approvals, goal)
    assert (again.approval_id, again.state, again.unanswered) == (one.approval_id, S.EXPIRED, True)
    with pytest.raises(ApprovalClosed):
        approvals.approve(one.approval_id)
    assert woken == []
    assert approvals.wake_due() == 1
    assert woken == [goal]
    assert approvals.wake_due() == 0


def test_a_request_over_its_time_cannot_be_approved_even_before_upkeep(approvals, goal, state):
    one = ask(approvals, goal)
    overdue(state, one.approval_id)
    with pytest.raises(ApprovalClosed):
        approvals.approve(one.approval_id)


def test_a_yes_not_used_in_time_is_worth_nothing_and_is_asked_for_again(approvals, goal, state):
    one = ask(approvals, goal)
    approvals.approve(one.approval_id)
    overdue(state, one.approval_id)
    assert not approvals.consume(goal, A.digest())
    assert ask(approvals, goal).state is S.PENDING


def test_closing_a_goal_closes_what_it_asked(approvals, goal, state):
    pending, approved = ask(approvals, goal), ask(approvals, goal, B)
    approvals.approve(approved.approval_id)
    approvals.close_goal(goal)
    assert approvals.pending() == []
    assert {one.state for one in approvals.of_goal(goal)} == {S.EXPIRED}
    assert not approvals.consume(goal, B.digest())
    with pytest.raises(ApprovalClosed):
        approvals.approve(pending.approval_id)
    assert state.ttl(keys.approval(pending.approval_id)) > 0
    assert state.ttl(keys.goal_approvals(goal)) > 0


def test_an_ended_goal_takes_no_answer_and_uses_none(approvals, goals, goal):
    one, other = ask(approvals, goal), ask(approvals, goal, B)
    approvals.approve(other.approval_id)
    end(goals, goal)
    with pytest.raises(GoalFinished):
        approvals.consume(goal, B.digest())
    with pytest.raises(ApprovalClosed, match="FAILED"):
        approvals.approve(one.approval_id)
    with pytest.raises(GoalFinished):
        ask(approvals, goal)


def test_upkeep_closes_what_ended_goals_left_open(approvals, goals, goal, state):
    one = ask(approvals, goal)
    end(goals, goal)
    approvals.expire_due(SystemClock().now())
    assert approvals.get(one.approval_id).state is S.EXPIRED
    assert approvals.pending() == []
    assert state.zcard(keys.APPROVALS_GOALS) == 0


def test_a_stale_run_may_neither_ask_nor_use(approvals, goals, goal):
    lease, _ = goals.acquire(goal, owner="w")
    approvals.approve(ask(approvals, goal, fence=lease.fence).approval_id)
    with pytest.raises(LeaseLost):
        approvals.consume(goal, A.digest(), fence=lease.fence - 1)
    with pytest.raises(LeaseLost):
        ask(approvals, goal, B, fence=lease.fence - 1)
    assert approvals.consume(goal, A.digest(), fence=lease.fence)


def test_an_answer_whose_process_died_before_waking_is_seen_later(state, goal, woken):
    def dies(_goal):
        raise ConnectionError

    one = ask(Approvals(state), goal)
    with pytest.raises(ConnectionError):
        Approvals(state, wake=dies).approve(one.approval_id)
    assert Approvals(state, wake=woken.append).wake_due() == 1
    assert woken == [goal]


def test_an_answer_that_comes_before_the_goal_waits_wakes_it_once_it_does(approvals, goals, woken):
    goal = goals.create(a_goal())[0].goal_id
    lease, _ = goals.acquire(goal, owner="w")
    approvals.approve(ask(approvals, goal).approval_id)
    assert (approvals.wake_due(), woken) == (0, [])
    goals.release(lease, state=GoalState.WAITING_APPROVAL)
    assert (approvals.wake_due(), woken) == (1, [goal])
    assert approvals.wake_due() == 0


def test_ids_are_exact_and_names_are_clean(approvals, goal):
    one = ask(approvals, goal)
    for wrong in (one.approval_id[:8], "*", ""):
        with pytest.raises(NotThere):
            approvals.approve(wrong)
    with pytest.raises(InvalidOption):
        approvals.approve(one.approval_id, by="eva\u202e")
    with pytest.raises(InvalidOption):
        approvals.approve(one.approval_id, by=" ")
    assert "@" in approvals.approve(one.approval_id).decided_by


def test_unknown_goals_and_texts_that_are_no_unicode(approvals, goal):
    with pytest.raises(GoalNotFound):
        ask(approvals, "nobody")
    with pytest.raises(ToolDenied):
        ask(approvals, goal, ToolCall(name="Bash", arguments={"command": "\ud800"}))


def test_everything_is_on_the_audit_stream_and_in_the_goals_events(approvals, goals, goal, state):
    one = ask(approvals, goal)
    approvals.approve(one.approval_id, by="eva", why="ok")
    approvals.consume(goal, A.digest())
    audit = [fields for _, fields in state.xrange(keys.APPROVALS_AUDIT)]
    assert [f[b"what"] for f in audit] == [b"requested", b"approved", b"used"]
    assert (audit[1][b"by"], audit[1][b"why"]) == (b"eva", b"ok")
    assert {f[b"digest"] for f in audit} == {A.digest().encode()}
    told = [e.data for e in goals.events(goal) if e.kind == "approval"]
    assert [t["state"] for t in told] == ["requested", "approved", "used"]
    assert told[1]["approval_id"] == one.approval_id


def test_a_yes_to_money_raises_the_limit_once_whoever_says_it_again(approvals, goal, state):
    budget = keys.scope_budget("project:p")
    state.hset(budget, mapping={"day_limit": 1_000, "limit": 7, "day_alerted": 95})
    raises = LimitRaise(scope="project:p", window="day", micro=250)
    asked = ask(approvals, goal, raises=raises)
    for _ in range(2):
        assert approvals.approve(asked.approval_id, by="ann").state is S.USED
    assert state.hmget(budget, "day_limit", "limit", "day_alerted") == [b"1250", b"7", b"0"]
    with pytest.raises(ApprovalClosed):
        approvals.deny(asked.approval_id, why="late")
    audit = [entry[b"what"] for _, entry in state.xrange(keys.APPROVALS_AUDIT)]
    assert audit == [b"requested", b"approved", b"raised"]


def test_a_no_to_money_raises_nothing(approvals, goal, state):
    state.hset(keys.scope_budget("global"), "limit", 1_000)
    asked = ask(approvals, goal, raises=LimitRaise(scope="global", micro=250))
    assert approvals.deny(asked.approval_id, why="no").state is S.DENIED
    assert state.hget(keys.scope_budget("global"), "limit") == b"1000"
