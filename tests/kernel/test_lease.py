"""The keeper: renews in the background, and knows when the lease is lost."""

from __future__ import annotations

import logging
import threading

import pytest
import redis

from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.kernel import keys, logs
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease, LeaseKeeper
from tests.kernel.goal_support import a_goal, an_outcome, expire_lease
from tests.support.wait import wait_until


class StepClock(SystemClock):
    """Steady time that a test moves."""

    ahead = 0.0

    def steady(self) -> float:
        return super().steady() + self.ahead


@pytest.fixture
def store(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def lease(store):
    goal = store.create(a_goal())[0]
    return store.acquire(goal.goal_id, owner="w", ttl_s=0.6)[0]


def test_a_kept_lease_outlives_its_first_time(store, lease):
    with LeaseKeeper(store, lease, ttl_s=0.6) as keeper:
        wait_until(lambda: keeper.lease.until > lease.until + 0.7, what="two renewals")
        keeper.check()
        assert store.append_journal(keeper.lease, b"x") == 1


def test_a_keeper_learns_that_another_run_took_over(store, state, lease):
    with LeaseKeeper(store, lease, ttl_s=0.6) as keeper:
        expire_lease(state, lease.goal_id)
        wait_until(lambda: keeper.lost, what="lost")
        with pytest.raises(LeaseLost):
            keeper.check()


def test_no_late_writes_a_process_that_was_stopped_knows_it_before_its_thread_ran(store, lease):
    clock = StepClock()
    with LeaseKeeper(store, lease, ttl_s=60, clock=clock) as keeper:
        keeper.check()
        clock.ahead = 61  # SIGSTOP for longer than the lease
        assert keeper.lost


class Away:
    """A store whose server does not answer for a while."""

    def __init__(self, failures: int) -> None:
        self.failures, self.asked = failures, threading.Event()

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise redis.ConnectionError("away")
        return lease


def test_a_short_absence_of_the_server_is_borne():
    away = Away(1)
    with LeaseKeeper(away, Lease("g", "w", 1, 0.0), ttl_s=0.9) as keeper:
        wait_until(lambda: away.asked.is_set() and not away.failures, what="one failure")
        assert not keeper.lost


def test_a_long_absence_of_the_server_loses_the_lease():
    with LeaseKeeper(Away(1_000), Lease("g", "w", 1, 0.0), ttl_s=0.3) as keeper:
        wait_until(lambda: keeper.lost, what="lost")


def test_leaving_the_block_ends_the_thread(store, state, lease):
    with LeaseKeeper(store, lease, ttl_s=0.6) as keeper:
        assert any(t.name.startswith("lease-") for t in threading.enumerate())
    assert not keeper._thread.is_alive()
    store.finish(an_outcome(lease.goal_id), fence=lease.fence)
    assert not state.hexists(keys.goal(lease.goal_id), "lease_until")


def test_what_its_thread_logs_belongs_to_the_goal():
    told: list[dict[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(logs.facts_of(record))

    logger, keep = logging.getLogger(LeaseKeeper.__module__), Keep()
    logger.addHandler(keep)
    try:
        with logs.about(goal_id="g7"), LeaseKeeper(Away(1), Lease("g7", "w", 1, 0.0), ttl_s=0.3):
            wait_until(lambda: told, what="it said that the server is away")
    finally:
        logger.removeHandler(keep)
    assert told[0] == {"goal_id": "g7"}


def test_a_run_that_was_told_to_stop_stays_told_though_a_renewal_comes_late():
    clock, asked, answer = StepClock(), threading.Event(), threading.Event()
    lease = Lease("g", "w", 1, 0.0)

    class Slow:
        def renew(self, lease, *, ttl_s):
            asked.set()
            assert answer.wait(60)
            return lease

    with LeaseKeeper(Slow(), lease, ttl_s=0.3, clock=clock) as keeper:
        assert asked.wait(60)
        clock.ahead = 1  # the link was cut for longer than the lease
        assert keeper.lost
        clock.ahead = 0  # and what was on its way renews from the time it was asked at
        answer.set()
        keeper._thread.join(60)
        assert not keeper._thread.is_alive()
        with pytest.raises(LeaseLost):
            keeper.check()
