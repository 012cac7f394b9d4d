"""``llmos audit``: the rate of wrong replays with its bound."""

from __future__ import annotations

import pytest
import redis

from llmos_workers.kernel.audits import Audits
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.cli.conftest import Run
from tests.kernel.goal_support import a_goal
from tests.kernel.test_audits import verdict


def test_nothing_audited_is_said_with_what_to_set(run: Run) -> None:
    told = run("audit")
    assert told.code == 0
    assert "dispatcher.audit_share" in told.out
    assert run("audit", "--json").json["wrong_rate"] is None


def test_the_rate_its_bound_and_the_newest_verdicts_are_shown(run: Run, state: redis.Redis) -> None:
    goals = GoalStore(state, SystemClock())
    goal = goals.create(a_goal("audit", now=SystemClock().now()))[0]
    lease, _ = goals.acquire(goal.goal_id, owner="w", ttl_s=30)
    audits = Audits(state)
    for number in range(99):
        audits.add(verdict(f"right-{number}"), lease=lease)
    wrong = verdict("wrong-1", "disagreed").model_copy(update={"why": ("a.csv holds other data",)})
    audits.add(wrong, lease=lease)
    told = run("audit", "--limit", "1").out
    assert "99 agreed, 1 disagreed, 0 unclear" in told
    assert "wrong replays: 1.00%, at most 4.66% (95 %)" in told
    assert "a.csv holds other data" in told
    figures = run("audit", "--json").json
    assert figures["wrong_rate"] == pytest.approx(0.01)
    assert figures["wrong_rate_upper_95"] == pytest.approx(0.0466, abs=1e-3)
    assert len(figures["verdicts"]) == 10
