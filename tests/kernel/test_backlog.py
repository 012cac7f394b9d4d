"""What waits or is held is counted, wherever it is."""

from __future__ import annotations

from kombu import Connection

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import keys
from llmos_workers.kernel.backlog import read_backlog


def test_nothing_is_nothing(redis_server, state, tmp_path):
    config = {"workspace": tmp_path, "redis": {"url": redis_server}}
    with LLMOS(LLMOSConfig.from_dict(config)) as client:
        found = read_backlog(client.redis, client.broker)
    assert (found.total, found.oldest_s) == (0, 0.0)
    assert [queue.queue for queue in found.queues] == ["dispatch", "llm", "replay", "upkeep"]


def test_queued_held_and_delayed_work_counts_once_each(redis_server, state, tmp_path):
    config = {"workspace": tmp_path, "redis": {"url": redis_server}}
    with LLMOS(LLMOSConfig.from_dict(config)) as client, Connection(f"{redis_server}/0") as broker:
        handles = [client.submit(f"goal {n}", priority=n % 3 + 1) for n in range(6)]
        assert read_backlog(client.redis, client.broker).total == 6
        channel = broker.channel()
        assert channel.basic_get("dispatch", no_ack=False)  # a worker took it, and holds it
        now = client.redis.time()[0]
        client.redis.zadd(keys.DELAYED, {handles[0].id: now + 5, "a day": now + 86_400})
        (dispatch, *_) = read_backlog(client.redis, client.broker).queues
        assert (dispatch.queued, dispatch.unacked, dispatch.delayed) == (5, 1, 1)
        assert dispatch.total == 7


def test_the_oldest_is_who_waits_for_a_worker_not_who_runs(redis_server, state, tmp_path):
    config = {"workspace": tmp_path, "redis": {"url": redis_server}}
    with LLMOS(LLMOSConfig.from_dict(config)) as client:
        old, running = client.submit("old").id, client.submit("older, but runs").id
        client.goals.acquire(running, owner="test")
        now = client.redis.time()[0]
        client.redis.zadd(keys.goals_in_state(GoalState.ACCEPTED), {old: now - 100})
        client.redis.zadd(keys.goals_in_state(GoalState.RUNNING), {running: now - 900})
        assert 99 <= read_backlog(client.redis, client.broker).oldest_s < 200
