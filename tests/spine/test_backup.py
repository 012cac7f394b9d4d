"""A fleet is backed up while it works; a new one goes on from the file."""

from __future__ import annotations

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.kernel.backup import write_backup
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.restore import restore_backup
from llmos_workers.kernel.workspace import Workspace
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GOAL = "Create a Python calculator"
GOALS = 24
TIMEOUT = 120


def _config(folder) -> LLMOSConfig:
    return LLMOSConfig.from_dict(
        {
            "workspace": folder / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 2.0},
            "memory": {"insights": False},
        }
    )


def test_goals_under_way_go_on_from_a_backup(tmp_path):
    file = tmp_path / "fleet.llmos"
    with LocalSystem(_config(tmp_path / "one")) as system, LLMOS(system.config) as client:
        learned = client.submit(GOAL, project="first").result(TIMEOUT)
        assert learned.ok
        handles = [client.submit(GOAL, project=f"p{number}") for number in range(GOALS)]
        wait_until(
            lambda: sum(h.status() is GoalState.SUCCEEDED for h in handles) >= GOALS // 4,
            timeout=TIMEOUT,
            what="a quarter of the goals has ended",
        )
        with connect(system.config.redis) as state:
            write_backup(file, state, system.config.workspace)
    other = _config(tmp_path / "other")
    with (
        EmbeddedServer(other.workspace / "state" / "redis") as server,
        connect(other.redis, url=server.url) as state,
    ):
        restore_backup(file, state, Workspace(other.workspace))
        assert not audit(state).faults
    with LocalSystem(other) as system, LLMOS(system.config) as client:
        outcomes = [client.get(handle.id).result(TIMEOUT) for handle in handles]
        assert all(outcome.ok for outcome in outcomes), outcomes
        free = client.submit(GOAL, project="first").result(TIMEOUT)
        assert (free.ok, free.mode, free.cost_micro) == (True, Mode.FOLLOWER, 0)
        with connect(system.config.redis) as state:
            assert not audit(state).faults
