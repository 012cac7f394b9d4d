"""Verdicts of shadow audits: counted once, under the lease, the newest kept."""

from __future__ import annotations

import pytest
import redis

from llmos_workers.contracts.audits import AuditVerdict
from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.kernel.audits import Audits
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from tests.kernel.goal_support import a_goal


def verdict(goal_id: str, agreement: str = "agreed", project: str = "default") -> AuditVerdict:
    return AuditVerdict(
        goal_id=goal_id, audit_id="x", project=project, goal_text="t", trace_id="1", at=1.0,
        agreement=agreement,
    )  # fmt: skip


@pytest.fixture
def lease(state: redis.Redis) -> Lease:
    goals = GoalStore(state, SystemClock())
    goal = goals.create(a_goal("audit"))[0]
    return goals.acquire(goal.goal_id, owner="w", ttl_s=30)[0]


def test_a_goal_is_counted_once_however_often_its_audit_runs(
    state: redis.Redis, lease: Lease
) -> None:
    audits = Audits(state)
    assert audits.add(verdict("a"), lease=lease)
    assert not audits.add(verdict("a", "disagreed"), lease=lease)
    assert audits.add(verdict("b", "disagreed", project="other"), lease=lease)
    assert (audits.counts().agreed, audits.counts().disagreed) == (1, 1)
    assert audits.counts("other").decided == 1
    assert [v.goal_id for v in audits.newest()] == ["b", "a"]
    assert [v.goal_id for v in audits.newest(project="other")] == ["b"]


def test_a_run_that_lost_its_lease_counts_nothing(state: redis.Redis, lease: Lease) -> None:
    late = Lease(lease.goal_id, lease.owner, lease.fence - 1, lease.until)
    with pytest.raises(LeaseLost):
        Audits(state).add(verdict("a"), lease=late)
    assert Audits(state).counts().decided == 0
