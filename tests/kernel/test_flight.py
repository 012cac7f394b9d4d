"""Single flight: one leads, the others wait, and nobody waits for a leader that has ended."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from llmos_workers.contracts.errors import GoalNotFound, LeaseLost
from llmos_workers.contracts.goal import GoalState, TaskEnvelope
from llmos_workers.contracts.outcome import ErrorInfo
from llmos_workers.kernel import keys
from llmos_workers.kernel.flight import MOST_FAILURES, Flights, Verdict, verdict_of
from tests.kernel.goal_support import (
    a_goal,
    an_outcome,
    assert_indexes_right,
    expire_lease,
    states_in_stream,
)

S = GoalState
NAME = "a:goal:1"


@pytest.fixture
def flights(system):
    return Flights(system.state, system.broker, system.goals)


def join(flights, record, same="x", name=NAME, envelope=None):
    return flights.join(record, name, same=same, envelope=envelope or TaskEnvelope())


def breaks(flights, record, same="x"):
    """A worker runs the goal, its replay breaks, and it joins as it runs."""
    lease, running = flights.goals.acquire(record.goal_id, owner="host:1:1")
    return lease, flights.join(running, NAME, same=same, lease=lease)


def end(flights, goal_id, status=S.SUCCEEDED, kind="ModelFault"):
    """The goal ends and says so."""
    error = None if status is S.SUCCEEDED else ErrorInfo(kind=kind, message="no luck")
    outcome = an_outcome(goal_id, status).model_copy(update={"error": error})
    finish(flights.goals, outcome)
    return flights.land(outcome)


def finish(goals, outcome):
    """Whoever runs the goal ends it; nobody else says so."""
    record = goals.get(outcome.goal_id)
    goals.finish(outcome, fence=record.fence if record.state is S.RUNNING else None)


def boarded(system, flights, number, **options):
    """A leader and those that wait for it; the queue is empty."""
    records = sorted(system.submit(number, **options), key=lambda record: record.goal_id)
    system.broker.flushdb()
    answers = [join(flights, record) for record in records]
    assert [a.go for a in answers] == [True] + [False] * (number - 1)
    return records


def waiting(system):
    return system.in_state(S.WAITING_FLIGHT)


def test_the_first_leads_and_the_others_wait_without_a_message(system, flights):
    leader, *others = boarded(system, flights, 4)
    assert sorted(waiting(system)) == sorted(r.goal_id for r in others)
    assert system.goals.get(leader.goal_id).flight == NAME
    assert join(flights, others[0]).waits_for == leader.goal_id, "asking twice does no harm"
    assert join(flights, leader).go
    assert system.queued() == []
    assert_indexes_right(system.state, [system.goals.get(r.goal_id) for r in (leader, *others)])


def test_after_a_success_all_go_on_and_remember_that_they_waited(system, flights):
    leader, *others = boarded(system, flights, 4)
    assert end(flights, leader.goal_id) == 3
    assert sorted(system.queued()) == sorted(r.goal_id for r in others)
    assert {system.goals.get(r.goal_id).flights for r in others} == {1}
    assert {system.goals.state(r.goal_id) for r in others} == {S.ACCEPTED}
    assert states_in_stream(system.goals, others[0].goal_id)[-2:] == ["WAITING_FLIGHT", "ACCEPTED"]
    assert end(flights, leader.goal_id) == 0


def test_whoever_comes_after_a_landing_is_told_to_look_again(system, flights):
    (leader,) = boarded(system, flights, 1)
    assert not join(flights, leader).look_again
    end(flights, leader.goal_id)
    (late,) = system.submit(1)
    assert join(flights, late).look_again
    assert flights.give_way(system.goals.get(late.goal_id)) == 0
    assert system.goals.get(late.goal_id).flight is None


def test_after_a_failure_exactly_one_goes_on_and_leads(system, flights):
    leader, *others = boarded(system, flights, 4)
    assert end(flights, leader.goal_id, S.FAILED) == 1
    (heir,) = system.queued()
    assert heir == others[0].goal_id
    assert len(waiting(system)) == 2
    assert join(flights, system.goals.get(heir)).go
    assert system.goals.get(heir).flights == 0
    (newcomer,) = system.submit(1)
    assert join(flights, newcomer).waits_for == heir


def test_a_series_of_failures_is_given_up_and_the_same_fail_alike(system, flights):
    records = boarded(system, flights, MOST_FAILURES + 3)
    (other,) = system.submit(1)
    join(flights, other, same="another value")
    for record in records[: MOST_FAILURES - 1]:
        assert end(flights, record.goal_id, S.FAILED) == 1
    assert end(flights, records[MOST_FAILURES - 1].goal_id, S.FAILED) == 4
    for record in records[MOST_FAILURES:]:
        assert system.goals.get(record.goal_id).flight_failed.message == "no luck"
    freed = system.goals.get(other.goal_id)
    assert (freed.state, freed.flight_failed, freed.flights) == (S.ACCEPTED, None, 1)
    assert system.count("flight.gave_up") == 1
    (fresh,) = system.submit(1)
    assert join(flights, fresh).go, "who asks later is not held to account"
    assert system.goals.get(fresh.goal_id).flight_failed is None


def test_failures_of_different_values_condemn_nobody(system, flights):
    records = system.submit(MOST_FAILURES + 1)
    for number, record in enumerate(records):
        join(flights, record, same=str(number))
    for record in records[:MOST_FAILURES]:
        end(flights, record.goal_id, S.FAILED)
    last = system.goals.get(records[-1].goal_id)
    assert (last.state, last.flight_failed) == (S.ACCEPTED, None)


@pytest.mark.parametrize("kind", ["Cancelled", "DeadlineExceeded"])
def test_leaders_that_leave_for_reasons_of_their_own_count_for_nothing(system, flights, kind):
    status = S.CANCELLED if kind == "Cancelled" else S.FAILED
    records = boarded(system, flights, MOST_FAILURES + 3)
    for record in records[:-1]:
        assert end(flights, record.goal_id, status, kind) == 1
    assert system.goals.get(records[-1].goal_id).flight == NAME


def test_the_successor_is_one_that_is_the_same(system, flights):
    leader, other, same = system.submit(3)
    join(flights, leader)
    join(flights, other, same="another value")
    join(flights, same)
    end(flights, leader.goal_id, S.FAILED)
    assert system.goals.get(same.goal_id).flight == NAME
    assert waiting(system) == [other.goal_id]


@pytest.mark.parametrize("how", ["cancelled", "failed", "succeeded", "forgotten"])
def test_a_leader_that_ended_in_silence_is_found_by_the_clock(system, flights, how):
    leader, *_ = boarded(system, flights, 3)
    if how == "cancelled":
        system.goals.request_cancel(leader.goal_id)
    elif how == "forgotten":
        system.state.delete(keys.goal(leader.goal_id))
    else:
        status = S.SUCCEEDED if how == "succeeded" else S.FAILED
        system.goals.finish(an_outcome(leader.goal_id, status), fence=None)
    assert system.recovery.work().woken == (2 if how == "succeeded" else 1)
    assert system.recovery.work().woken == 0
    assert len(waiting(system)) == (0 if how == "succeeded" else 1)


def test_a_newcomer_takes_over_from_a_leader_that_ended_in_silence(system, flights):
    leader, *_ = boarded(system, flights, 3)
    system.goals.request_cancel(leader.goal_id)
    (newcomer,) = system.submit(1)
    assert join(flights, newcomer).go
    assert len(waiting(system)) == 2
    assert end(flights, newcomer.goal_id) == 2


def test_a_leader_that_died_is_taken_back_and_still_leads(system, flights):
    leader, *_ = boarded(system, flights, 3)
    system.run_dies(leader.goal_id)
    assert system.recovery.work().died == 1
    assert join(flights, leader).go
    assert len(waiting(system)) == 2


def test_a_cancelled_one_leaves_the_others_waiting_and_is_no_successor(system, flights):
    leader, gone, heir = boarded(system, flights, 3)
    assert system.goals.request_cancel(gone.goal_id) is S.CANCELLED
    assert end(flights, leader.goal_id, S.FAILED) == 1
    assert system.queued() == [heir.goal_id]
    assert end(flights, heir.goal_id) == 0
    assert not system.state.exists(keys.FLIGHTS, keys.flight_waiting(NAME))


def test_a_deadline_wakes_whoever_waits(system, flights):
    boarded(system, flights, 1)
    past = system.state.time()[0] - 1.0
    (hasty,) = system.submit(1, deadline=past + 3600)
    late = hasty.model_copy(update={"options": hasty.options.model_copy(update={"deadline": past})})
    assert join(flights, late).waits_for
    system.broker.flushdb()
    assert system.recovery.work().woken == 1
    assert system.queued() == [hasty.goal_id]


def test_it_waits_in_its_envelope_and_by_priority(system, flights):
    (leader,) = boarded(system, flights, 1)
    (slow,), (quick,) = system.submit(1, priority=3), system.submit(1, priority=1)
    envelope = TaskEnvelope(group_id="g", group_index=3, chord={"task": "join"})
    for record in (slow, quick):
        join(flights, record, envelope=envelope)
    end(flights, leader.goal_id, S.FAILED)
    assert waiting(system) == [slow.goal_id]
    assert system.goals.get(slow.goal_id).envelope == envelope


def test_goals_that_run_or_wait_for_something_else_are_let_through(system, flights):
    boarded(system, flights, 1)
    running, parked = system.submit(2)
    system.goals.acquire(running.goal_id, owner="x")
    system.goals.transition(parked.goal_id, S.WAITING_RATE)
    assert join(flights, running).go
    assert join(flights, parked).go
    assert waiting(system) == []


def test_of_runs_that_broke_one_goes_on_and_the_others_end_with_their_leases(system, flights):
    records = system.submit(4)
    envelope = TaskEnvelope(group_id="g", chord={"task": "join"})
    for record in records:
        system.goals.transition(record.goal_id, S.DISPATCHED, envelope=envelope)
    system.broker.flushdb()
    (lease, leads), *others = [breaks(flights, record) for record in records]
    assert leads.go
    assert not any(answer.go for _, answer in others)
    assert system.goals.get(records[0].goal_id).state is S.RUNNING
    assert system.goals.get(records[0].goal_id).flight == NAME
    for record, (own, _) in zip(records[1:], others, strict=True):
        kept = system.goals.get(record.goal_id)
        assert (kept.state, kept.lease_until, kept.deliveries) == (S.WAITING_FLIGHT, None, 0)
        assert kept.envelope == envelope
        with pytest.raises(LeaseLost):
            flights.join(kept, NAME, same="x", lease=own)
    assert flights.join(system.goals.get(lease.goal_id), NAME, same="x", lease=lease).go
    assert end(flights, records[0].goal_id) == 3
    assert sorted(system.queued()) == sorted(r.goal_id for r in records[1:])
    assert_indexes_right(system.state, [system.goals.get(r.goal_id) for r in records])


def test_after_the_failure_of_who_mends_exactly_one_of_those_that_broke_goes_on(system, flights):
    records = system.submit(3)
    system.broker.flushdb()
    answers = [breaks(flights, record)[1] for record in records]
    assert [answer.go for answer in answers] == [True, False, False]
    assert end(flights, records[0].goal_id, S.FAILED) == 1
    (heir,) = system.queued()
    assert breaks(flights, system.goals.get(heir))[1].go, "it replays first, breaks, and leads"
    assert len(waiting(system)) == 1


def test_a_run_that_lost_its_goal_or_is_to_stop_does_not_wait(system, flights):
    boarded(system, flights, 1)
    dead, stopped = system.submit(2)
    lease, _ = system.goals.acquire(dead.goal_id, owner="host:1:1")
    expire_lease(system.state, dead.goal_id)
    with pytest.raises(LeaseLost):
        flights.join(dead, NAME, same="x", lease=lease)
    lease, _ = system.goals.acquire(stopped.goal_id, owner="host:1:1")
    system.goals.request_cancel(stopped.goal_id)
    assert flights.join(stopped, NAME, same="x", lease=lease).go
    assert waiting(system) == []


def test_a_run_whose_decision_is_out_of_date_is_decided_again(system, flights):
    (record,) = system.submit(1)
    system.broker.flushdb()
    lease, _ = system.goals.acquire(record.goal_id, owner="host:1:1")
    flights.again(lease, reason="mended")
    kept = system.goals.get(record.goal_id)
    assert (kept.state, kept.flights, kept.deliveries) == (S.ACCEPTED, 1, 0)
    assert system.queued() == [record.goal_id]
    with pytest.raises(LeaseLost):
        flights.again(lease, reason="mended")
    assert_indexes_right(system.state, [kept])


def test_an_unknown_goal_joins_nothing(flights):
    with pytest.raises(GoalNotFound):
        join(flights, a_goal())
    assert flights.land(an_outcome("nobody")) == 0


def test_more_than_a_batch_is_released(system, flights):
    leader, *_ = boarded(system, flights, 1_203)
    assert end(flights, leader.goal_id) == 1_202
    assert len(set(system.queued())) == 1_202


def test_a_finisher_that_dies_half_way_leaves_the_rest_to_the_clock(system, flights, monkeypatch):
    leader, *_ = boarded(system, flights, 3)
    with monkeypatch.context() as patched:
        patched.setattr(Flights, "_release", lambda *_: 0)
        assert end(flights, leader.goal_id) == 0
    assert system.recovery.work().woken == 2


def test_what_an_end_says():
    assert verdict_of(None) is verdict_of(an_outcome("x", S.CANCELLED)) is Verdict.LEFT
    assert verdict_of(an_outcome("x", S.PARTIAL)) is Verdict.OK
    assert verdict_of(an_outcome("x", S.DEAD)) is Verdict.FAILED


class Machine(RuleBasedStateMachine):
    """Random boarding, ends, cancels, deaths of finishers and ticks of the clock."""

    system = None

    def __init__(self):
        super().__init__()
        self.system.state.flushall()
        self.flights = Flights(self.system.state, self.system.broker, self.system.goals)
        self.known = {}

    def _live(self, *states):
        return [g for g in self.known if self.system.goals.state(g) in states]

    def _leaders(self):
        """Goals that think they may learn now."""
        flying = self._live(S.ACCEPTED, S.DISPATCHED, S.RUNNING)
        return [g for g in flying if self.known[g] == "go"]

    @rule(same=st.sampled_from("ab"))
    def submit(self, same):
        (record,) = self.system.submit(1)
        self._join(record, same)

    @rule(same=st.sampled_from("ab"))
    def breaks(self, same):
        (record,) = self.system.submit(1)
        answer = breaks(self.flights, record, same)[1]
        self.known[record.goal_id] = "go" if answer.go else same

    def _join(self, record, same):
        answer = join(self.flights, record, same)
        self.known[record.goal_id] = "go" if answer.go else same
        if answer.waits_for is not None:
            assert not self.system.goals.state(answer.waits_for).final

    @rule()
    def dispatch(self):
        """Workers take the messages of those that go on."""
        for goal_id in self._live(S.ACCEPTED):
            same = self.known[goal_id]
            if same != "go" and self.system.goals.get(goal_id).flight_failed is None:
                self._join(self.system.goals.get(goal_id), same)

    @rule(status=st.sampled_from([S.SUCCEEDED, S.FAILED]), silent=st.booleans())
    def end(self, status, silent):
        for goal_id in self._leaders()[:1]:
            if silent:
                finish(self.system.goals, an_outcome(goal_id, status))
            else:
                end(self.flights, goal_id, status)

    @rule()
    def cancel(self):
        for goal_id in [*self._live(S.WAITING_FLIGHT), *self._leaders()][:1]:
            self.system.goals.request_cancel(goal_id)

    @rule()
    def tick(self):
        self.flights.tick()
        self.settled()

    @invariant()
    def one_leads(self):
        assert len(self._leaders()) <= 1

    def settled(self):
        """After a tick nobody waits without a leader that lives."""
        if self._live(S.WAITING_FLIGHT):
            leader = self.system.state.hget(keys.flight(NAME), "learner")
            assert leader is not None
            assert not self.system.goals.state(leader.decode()).final

    def teardown(self):
        """Whatever happened, all come to an end."""
        for _ in range(3 * len(self.known) + 3):
            self.flights.tick()
            self.dispatch()
            self.end(S.SUCCEEDED, silent=True)
        assert not self._live(S.WAITING_FLIGHT)


def test_any_order_of_events_leaves_one_leader_and_nobody_behind(system):
    Machine.system = system
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
