"""Every tool call of a real system, of a model and of a replay, is on record, and no other is."""

from collections import Counter

import redis

from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel.gate_files import GateFiles
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.gate_verify import verify
from llmos_workers.kernel.redis import connect
from tests.spine.test_waiting import open_approval, worried

TIMEOUT = 60


def decisions(state: redis.Redis, goal_id: str) -> Counter[str]:
    """Decisions about the calls of a goal itself; those of its proof are a trace's, in LEARNER."""
    found = (entry.decision().record for entry in GateLog(state).newest())
    return Counter(
        each.decision.value for each in found if each.goal_id == goal_id and each.source != "proof"
    )


def test_as_many_decisions_are_logged_as_calls_were_made(llmos, project, output, system):
    goal = "Create a Python calculator"
    learned = llmos.submit(goal, project=project).result(TIMEOUT)
    (output / "calculator.py").unlink()
    replayed = llmos.submit(goal, project=project).result(TIMEOUT)
    worried(llmos, project)
    asking = llmos.submit("Write a haiku about rain", project=project)
    llmos.deny(open_approval(llmos, asking).approval_id, why="not here")
    refused = asking.result(TIMEOUT)
    assert replayed.mode is Mode.FOLLOWER
    with connect(system.config.redis) as state:
        for outcome in (learned, replayed):
            assert decisions(state, outcome.goal_id) == {"allow": len(outcome.tool_calls)}
        logged = decisions(state, refused.goal_id)
        assert logged == {"ask": 1, "deny": len(refused.tool_calls)}
        found = verify(GateLog(state), GateFiles(system.config.workspace / "state" / "audit"))
    assert found.whole, found.faults
    assert found.records >= found.head.n > 0
