"""A goal that kills the dispatch worker, before any run of it holds a lease, stops too."""

from __future__ import annotations

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import GoalState
from llmos_workers.embedded.local import LocalSystem

pytestmark = pytest.mark.process

TIMEOUT = 60


def test_a_goal_that_kills_its_dispatcher_again_and_again_is_dead(tmp_path):
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path / "workspace",
            "kernel": {"max_deliveries": 2, "lease_secs": 1.5},
            "redis": {"visibility_timeout_secs": 3},
        }
    )
    env = {"LLMOS_TASK_MODULES": "llmos_workers.tasks,tests.support.poison"}
    roles = {"dispatch": 1, "llm": 1}
    with LocalSystem(config, roles=roles, env=env) as running, LLMOS(running.config) as llmos:
        poison = llmos.submit("This goal is poison")
        outcome = poison.result(TIMEOUT)
        assert (outcome.status, outcome.error.kind) == ("DEAD", "PoisonGoal")
        assert "2 starts" in outcome.error.message
        assert [r.goal_id for r in llmos.list(state=GoalState.DEAD)] == [poison.id]
        assert llmos.submit("Write a haiku about rain").result(TIMEOUT).ok
