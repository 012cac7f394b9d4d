"""The goal record against TRANSITIONS and a pure model, under random use by several runs."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from llmos_workers.contracts.errors import (
    GoalFinished,
    GoalStateError,
    IllegalTransition,
    LeaseHeld,
    LeaseLost,
)
from llmos_workers.contracts.goal import TRANSITIONS, GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore, Lease
from tests.kernel.goal_support import (
    a_goal,
    an_outcome,
    assert_indexes_right,
    expire_lease,
    states_in_stream,
)

S = GoalState
GOALS = 2
which = st.integers(0, GOALS - 1)
live_states = st.sampled_from([s for s in S if not s.final and s is not S.RUNNING])
final_states = st.sampled_from([s for s in S if s.final])


class Known:
    """What the model knows of one goal."""

    def __init__(self) -> None:
        self.state = S.ACCEPTED
        self.fence = 0
        self.live = False
        """Whether a run holds an unexpired lease."""
        self.cancel = False
        self.outcome: Outcome | None = None
        self.journal: list[bytes] = []
        self.stream = ["ACCEPTED"]
        self.leases: list[Lease] = []

    def enter(self, state: GoalState) -> None:
        assert state in TRANSITIONS[self.state]
        self.state = state
        self.stream.append(state.value)
        self.live = state is S.RUNNING

    def refusal(self, lease: Lease | None) -> type[GoalStateError] | None:
        """Why a write would be refused; ``lease`` None: a caller without one."""
        if self.state.final:
            return GoalFinished
        if lease is None:
            return LeaseHeld if self.live else None
        return None if self.live and lease.fence == self.fence else LeaseLost


class GoalMachine(RuleBasedStateMachine):
    client = None  # set by the test

    def __init__(self):
        super().__init__()
        self.client.flushdb()
        self.store = GoalStore(self.client, SystemClock())
        self.goals = [a_goal(f"goal {i}") for i in range(GOALS)]
        self.store.create_many(self.goals)
        self.known = [Known() for _ in self.goals]

    def expect(self, error, act):
        if error is None:
            act()
            return True
        with pytest.raises(error):
            act()
        return False

    def lease_of(self, i, pick):
        """A lease that some run of the goal got at some time, or None: no lease."""
        leases = [None, *self.known[i].leases]
        return leases[pick % len(leases)]

    @rule(i=which)
    def acquire(self, i):
        goal, known = self.goals[i], self.known[i]
        error = known.refusal(None)
        if error is None and known.cancel:
            error = GoalFinished
        if self.expect(error, lambda: self.take(i)) or not known.cancel:
            return
        if not known.state.final and not known.live:
            known.enter(S.CANCELLED)
            known.outcome = self.store.outcome(goal.goal_id)

    def take(self, i):
        known = self.known[i]
        lease, record = self.store.acquire(self.goals[i].goal_id, owner=f"w{known.fence}")
        known.enter(S.RUNNING)
        known.fence += 1
        known.leases.append(lease)
        assert (lease.fence, record.state, record.deliveries) == (
            known.fence,
            S.RUNNING,
            lease.fence,
        )

    @rule(i=which, to=live_states, pick=st.integers(0, 5))
    def transition(self, i, to, pick):
        goal, known, lease = self.goals[i], self.known[i], self.lease_of(i, pick)
        error = known.refusal(lease)
        if error is None and to not in TRANSITIONS[known.state]:
            error = IllegalTransition
        cancels = error is None and known.cancel
        fence = lease.fence if lease else None
        done = self.expect(
            GoalFinished if cancels else error,
            lambda: self.store.transition(goal.goal_id, to, fence=fence),
        )
        if done:
            known.enter(to)
        elif cancels:
            known.enter(S.CANCELLED)
            known.outcome = self.store.outcome(goal.goal_id)

    @rule(i=which, to=final_states, pick=st.integers(0, 5))
    def finish(self, i, to, pick):
        goal, known, lease = self.goals[i], self.known[i], self.lease_of(i, pick)
        outcome = an_outcome(goal.goal_id, to, text=f"{pick}")
        fence = lease.fence if lease else None
        if known.state.final:
            assert self.store.finish(outcome, fence=fence) == known.outcome
            return
        if self.expect(known.refusal(lease), lambda: self.store.finish(outcome, fence=fence)):
            known.enter(to)
            known.outcome = outcome

    @rule(i=which, pick=st.integers(1, 5))
    def journal(self, i, pick):
        known, lease = self.known[i], self.lease_of(i, pick)
        if lease is None:
            return
        entry = f"{i}-{len(known.journal)}".encode()
        append = lambda: self.store.append_journal(lease, entry)  # noqa: E731
        if self.expect(known.refusal(lease), append):
            known.journal.append(entry)

    @rule(i=which, pick=st.integers(1, 5))
    def renew(self, i, pick):
        known, lease = self.known[i], self.lease_of(i, pick)
        if lease is not None:
            self.expect(known.refusal(lease), lambda: self.store.renew(lease))

    @rule(i=which)
    def the_run_stalls_past_its_lease(self, i):
        if self.known[i].live:
            expire_lease(self.client, self.goals[i].goal_id)
            self.known[i].live = False

    @rule(i=which)
    def cancel(self, i):
        goal, known = self.goals[i], self.known[i]
        after = self.store.request_cancel(goal.goal_id)
        if known.state.final:
            assert after is known.state
            return
        known.cancel = True
        if known.state is not S.RUNNING:
            known.enter(S.CANCELLED)
            known.outcome = self.store.outcome(goal.goal_id)
        assert after is known.state

    @invariant()
    def the_record_is_what_the_model_says(self):
        records = [self.store.get(goal.goal_id) for goal in self.goals]
        for record, known in zip(records, self.known, strict=True):
            assert record.state is known.state
            assert record.fence == record.deliveries == known.fence
            assert record.cancel_requested == known.cancel
            assert record.outcome == known.outcome
            assert (record.outcome is None) == (not record.state.final)
            assert (record.lease_until is not None) == (record.state is S.RUNNING)
            assert self.store.journal(record.goal_id) == known.journal
            assert states_in_stream(self.store, record.goal_id) == known.stream
        assert_indexes_right(self.client, records)


def test_nothing_lost_the_record_goes_only_legal_ways_to_one_outcome(state):
    machine = type("Machine", (GoalMachine,), {"client": state})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
