"""The event bus never blocks, isolates its subscribers, and can be read from anywhere."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmos_workers.contracts.events import Topic
from llmos_workers.kernel import events, keys
from llmos_workers.kernel.events import EventBus


def test_the_101st_event_and_the_10_000th_do_not_block_without_a_subscriber() -> None:
    bus = EventBus()
    done = threading.Event()

    def publish_many() -> None:
        for number in range(10_000):
            bus.publish(Topic.TASK_COMPLETE, {"n": number})
        done.set()

    threading.Thread(target=publish_many, daemon=True).start()
    assert done.wait(20), "publishing blocked"


def test_more_than_100_events_reach_the_stream_and_are_read_in_pages(state: redis.Redis) -> None:
    bus = EventBus(state)
    for number in range(150):
        bus.publish(Topic.TASK_COMPLETE, {"n": number})
    first = bus.read(count=101)
    rest = bus.read(after=first[-1].event_id)
    assert [event.data["n"] for event in first + rest] == list(range(150))
    assert first[0].topic == "TASK_COMPLETE"
    assert bus.read(after=rest[-1].event_id) == []


def test_the_stream_is_capped(state: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STREAM_LENGTH", 100)
    bus = EventBus(state)
    for _ in range(600):
        bus.publish("X")
    assert state.xlen(keys.BUS) < 300


def test_a_failing_subscriber_is_logged_and_stops_nobody(
    caplog: pytest.LogCaptureFixture, state: redis.Redis
) -> None:
    bus, heard = EventBus(state), []

    def fail(topic: str, data: dict[str, Any]) -> None:
        data.clear()
        raise RuntimeError("mine")

    bus.subscribe(Topic.TASK_FAILED, fail)
    bus.subscribe(Topic.TASK_FAILED, lambda topic, data: heard.append((topic, data)))
    with caplog.at_level(logging.ERROR):
        bus.publish(Topic.TASK_FAILED, {"goal": "g"})
    assert heard == [("TASK_FAILED", {"goal": "g"})], "each subscriber gets its own copy"
    assert "a subscriber of TASK_FAILED failed" in caplog.text
    assert bus.read()[0].data == {"goal": "g"}


def test_subscriptions_are_by_topic_and_can_be_ended() -> None:
    bus, heard, everything = EventBus(), [], []
    end = bus.subscribe("A", lambda topic, data: heard.append(topic))
    bus.subscribe("*", lambda topic, data: everything.append(topic))
    bus.publish("A")
    bus.publish("B")
    end()
    end()
    bus.publish("A")
    assert heard == ["A"]
    assert everything == ["A", "B", "A"]


def test_an_absent_redis_fails_the_reader_but_not_the_publisher(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis.Redis(port=1, retry=Retry(NoBackoff(), 0)) as gone:
        bus = EventBus(gone)
        bus.publish(Topic.BUDGET_LOW, {"left": 0.1})
        assert "did not reach Redis" in caplog.text
        with pytest.raises(redis.ConnectionError):
            bus.read()


def test_data_that_is_no_json_is_told_in_words(state: redis.Redis) -> None:
    bus = EventBus(state)
    bus.publish("A", {"path": object})
    assert "object" in bus.read()[0].data["path"]


def test_reading_waits_for_the_next_event_of_another_process(state: redis.Redis) -> None:
    bus = EventBus(state)
    bus.publish("OLD")
    last = bus.read()[-1].event_id
    got: list[str] = []

    def read() -> None:
        while not got:
            got.extend(e.topic for e in bus.read(after=last, block_ms=10_000))

    reader = threading.Thread(target=read)
    reader.start()
    EventBus(state).publish("NEW")
    reader.join(30)
    assert got == ["NEW"]


def test_a_bounded_wait_ends_with_nothing(state: redis.Redis) -> None:
    assert EventBus(state).read(block_ms=10) == []
    assert EventBus().read(block_ms=10) == []
