"""Real goals go on within seconds when their run or their message is gone, without the broker:
its visibility timeout is an hour here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import GoalOptions, GoalState
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.kernel import keys, wire
from llmos_workers.kernel.goals import new_record
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 90
GOAL = "Build a calculator in Python"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A system of this module's own, whose broker gives nothing back by itself."""
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path_factory.mktemp("recovery") / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 1.5, "recovery_grace_secs": 2.0},
            "redis": {"visibility_timeout_secs": 3_600},
        }
    )
    roles = {"dispatch": 2, "llm": 4, "replay": 2}
    with LocalSystem(config, roles=roles) as running:
        yield running


@pytest.fixture
def llmos(system: LocalSystem) -> Iterator[LLMOS]:
    with LLMOS(system.config) as client:
        yield client


def counted(llmos: LLMOS, name: str) -> int:
    return int(llmos.redis.hget(keys.COUNTERS, name) or 0)


def test_a_goal_of_a_killed_worker_goes_on_with_its_own_message(
    system: LocalSystem, llmos: LLMOS
) -> None:
    """kill -9 of the llm worker while its model answers."""
    assert system.rehearsal is not None
    system.rehearsal.faults.next("hold")
    handle = llmos.submit(GOAL, project="killed")
    reservations = llmos.token_economy.reservations
    wait_until(lambda: any(r.state == "sent" for r in reservations()), what="the model is asked")
    assert handle.status() is GoalState.RUNNING
    (pid,) = [pid for name, pid in system.stack.workers.items() if name.startswith("llm")]
    before = counted(llmos, "recovery.died")
    os.kill(pid, signal.SIGKILL)
    outcome = handle.result(TIMEOUT)
    system.rehearsal.faults.release()
    assert outcome.status == "SUCCEEDED", outcome.error
    assert handle.record().deliveries == 2
    assert counted(llmos, "recovery.died") == before + 1
    states = [e.data["state"] for e in handle.events(timeout=5) if e.kind == "state"]
    assert states.count("DISPATCHED") == 1  # it went on in its hop, and was not dispatched again


def test_goals_without_a_message_run_once(llmos: LLMOS) -> None:
    """As after a crash of the client between record and message."""
    options = [GoalOptions(project=f"silent-{i}") for i in range(3)]
    records = [new_record(GOAL, each, now=llmos.clock.now()) for each in options]
    llmos.goals.create_many(records)
    for record in records:
        assert llmos.get(record.goal_id).result(TIMEOUT).ok
        assert llmos.goals.get(record.goal_id).deliveries == 1


def test_queues_that_lose_everything_lose_no_goal(llmos: LLMOS) -> None:
    """Twice all lists of the broker are deleted while goals are on their way."""
    handles = llmos.submit_many([GOAL] * 20, project="flushed")
    lists = [name for queue in ("dispatch", "llm", "replay") for name in wire.queue_lists(queue)]
    before = counted(llmos, "recovery.lost")
    llmos.broker.delete(*lists)
    wait_until(lambda: counted(llmos, "recovery.lost") > before, TIMEOUT, "some are sent again")
    llmos.broker.delete(*lists)
    outcomes = [handle.result(TIMEOUT) for handle in handles]
    assert [outcome.status for outcome in outcomes] == ["SUCCEEDED"] * 20
