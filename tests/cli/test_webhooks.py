"""``llmos webhooks``: what no receiver took is seen and sent again."""

from __future__ import annotations

import pytest
import redis
from pydantic import SecretStr

from llmos_workers.config import WebhooksConfig
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.webhooks import Webhooks
from tests.cli.conftest import Run
from tests.conftest import free_port
from tests.kernel.goal_support import a_goal, an_outcome


@pytest.fixture
def url() -> str:
    """Where nobody listens."""
    return f"http://127.0.0.1:{free_port()}/path?token=sesame"


@pytest.fixture
def dead_ids(state: redis.Redis, url: str) -> list[str]:
    goals, clock = GoalStore(state, SystemClock()), SystemClock()
    config = WebhooksConfig(urls=(url,), secret=SecretStr("of-many-characters"), max_attempts=1)
    hooks = Webhooks(state, goals, clock, config)
    for record in (a_goal(), a_goal()):
        goals.create(record)
        goals.finish(an_outcome(record.goal_id), fence=None)
        hooks.enqueue(goals.get(record.goal_id))
        assert hooks.deliver_due(clock.now() + 1).dead == 1
    return [one["delivery_id"] for one in hooks.dead()]


def test_dead_deliveries_are_listed_and_told_without_what_a_url_hides(
    run: Run, dead_ids: list[str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dead_ids[0] in run("webhooks", "list").out
    monkeypatch.setenv("LLMOS_WEBHOOKS__URLS", url)
    monkeypatch.setenv("LLMOS_WEBHOOKS__SECRET", "of-many-characters")
    told = run("webhooks", "list")
    assert "http://127.0.0.1:" in told.out
    assert "ConnectionRefusedError" in told.out
    assert "sesame" not in told.out
    lines = run("webhooks", "list", "--json").lines
    assert [one["delivery_id"] for one in lines] == dead_ids
    assert [one["attempts"] for one in lines] == [1, 1]


def test_a_retried_delivery_is_due_again(run: Run, dead_ids: list[str], state: redis.Redis) -> None:
    assert run("webhooks", "retry", dead_ids[0]).out == f"delivery {dead_ids[0]} is tried again.\n"
    assert run("webhooks", "retry", "--all", "--json").lines == [{"delivery_id": dead_ids[1]}]
    assert run("webhooks", "list").out == "no dead deliveries.\n"
    due = [each.decode() for each in state.zrange(keys.WEBHOOKS_DUE, 0, -1)]
    assert sorted(due) == sorted(dead_ids)


def test_what_is_not_dead_or_forgotten_is_refused_in_words(
    run: Run, dead_ids: list[str], state: redis.Redis
) -> None:
    state.delete(keys.webhook(dead_ids[0]))
    for delivery_id in ("unheard-of", dead_ids[0]):
        told = run("webhooks", "retry", delivery_id)
        assert (told.code, "no dead delivery" in told.err) == (2, True)
    assert not state.exists(keys.webhook(dead_ids[0]), keys.WEBHOOKS_DUE)
    assert run("webhooks", "retry").code == 2
    assert run("webhooks", "retry", "--all", "x").code == 2
