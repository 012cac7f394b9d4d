"""Sixteen processes on one budget, some of them killed at any step: never a cent too much."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import redis

from llmos_workers.contracts.errors import BudgetExceeded
from llmos_workers.kernel import keys
from llmos_workers.kernel.economy_audit import audit
from tests.kernel.economy_support import an_economy, reserve, unit_prices, used
from tests.support.wait import wait_until

PROCESSES, ROUNDS, KILLED = 16, 40, 6
GLOBAL, DAILY = 60_000, 25_000


def _work(url: str, folder: str, number: int, killed: bool) -> None:
    """Spend in rounds; a killed one ends between two steps of a call, as by kill -9."""
    dice = random.Random(number)
    economy = an_economy(redis.Redis.from_url(url), Path(folder), GLOBAL)
    last = dice.randrange(4, ROUNDS) if killed else -1
    for turn in range(ROUNDS):
        die_at = dice.randrange(3) if turn == last else -1

        def here(step: int, die_at: int = die_at) -> None:
            if 0 <= die_at <= step:
                os.kill(os.getpid(), signal.SIGKILL)

        bound = dice.randrange(1, 400)
        try:
            call = reserve(economy, bound, goal=f"g{dice.randrange(8)}", project=f"p{number % 3}")
        except BudgetExceeded:
            here(2)
            continue
        here(0)
        if die_at < 0 and dice.random() < 0.2:
            economy.release(call)
            continue
        economy.mark_sent(call)
        here(1)
        if dice.random() < 0.2:
            economy.in_doubt(call)
        here(2)
        if dice.random() < 0.8:
            economy.settle(call, usage=used(dice.randrange(bound + 1)))
    # What a run leaves open is what upkeep has to find.


@pytest.mark.process
def test_money_16_processes_some_killed_overspend_nothing(state, redis_server, tmp_path):
    unit_prices(tmp_path)
    economy = an_economy(state, tmp_path, GLOBAL)
    economy.set_limit("project:p0", DAILY, window="day")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    workers = [
        server.Process(target=_work, args=(f"{redis_server}/2", str(tmp_path), n, n < KILLED))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    seen = []

    def over() -> bool:
        seen.append(audit(state).faults)
        return not any(worker.is_alive() for worker in workers)

    wait_until(over, timeout=90, what="all workers end")
    assert not any(seen), next(faults for faults in seen if faults)
    codes = [worker.exitcode for worker in workers]
    assert codes[:KILLED] == [-signal.SIGKILL] * KILLED
    assert codes[KILLED:] == [0] * (PROCESSES - KILLED)

    for left in economy.reservations():
        state.hset(keys.reservation(left.reservation_id), "at", "1.0")
    economy.reclaim()
    assert {left.state for left in economy.reservations()} <= {"doubt"}
    for call in economy.doubts():
        economy.correct(call.reservation_id, call.bound_micro, why="the bill")
    assert audit(state).faults == ()
    assert state.zcard(keys.RESERVATIONS) == 0
    for scope in economy.states(economy.known_scopes()):
        for sums in scope.all_sums:
            assert sums.committed_micro == sums.spent_micro
            assert sums.limit_micro is None or sums.spent_micro <= sums.limit_micro
    told = economy.scope("global")
    assert told["spent"] > GLOBAL // 2
