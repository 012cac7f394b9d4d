"""TERM: a worker stops soon, and what it had goes on elsewhere."""

from __future__ import annotations

import pytest

from llmos_workers.kernel import drain
from tests.queue.conftest import Lab
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def test_a_thread_worker_gives_running_tasks_back(lab: Lab) -> None:
    """A cooperative task sees draining(), and is at once in the queue again."""
    first = lab.worker("llm")
    result = lab.send("probe.hold", "job", 60, queue="llm", cooperative=True)
    lab.wait_starts("job")
    assert lab.terminate(first, 40) == 0  # before its 60 s are over
    lab.worker("llm")
    lab.wait_starts("job", 2)
    lab.state.set("job:go", 1)
    result.get(timeout=60)
    assert (lab.starts("job"), lab.ends("job")) == (2, 1)


def test_tasks_that_wait_inside_a_thread_worker_are_not_lost(lab: Lab) -> None:
    """Running, prefetched and queued ones: each ends once."""
    first = lab.worker("dispatch")
    keys = [f"job{n}" for n in range(12)]
    results = [lab.send("probe.hold", key, 0.4, queue="dispatch") for key in keys]
    lab.wait_starts(keys[0])
    assert lab.terminate(first, 40) == 0
    assert sum(map(lab.ends, keys)) < len(keys)
    lab.worker("dispatch", 4)
    for result in results:
        result.get(timeout=60)
    assert [lab.ends(key) for key in keys] == [1] * len(keys)


def test_a_prefork_worker_lets_short_tasks_finish(lab: Lab) -> None:
    worker = lab.worker("replay", LLMOS_DRAIN_SECS="2")
    result = lab.send("probe.hold", "job", 0.7, queue="replay")
    lab.wait_starts("job")
    lab.terminate(worker, 40)
    assert lab.ends("job") == 1
    result.get(timeout=60)
    wait_until(lambda: lab.unacked() == 0, what="it was acknowledged")
    assert lab.broker.llen("replay") == 0


def test_a_prefork_worker_gives_long_tasks_back(lab: Lab) -> None:
    first = lab.worker("replay", LLMOS_DRAIN_SECS="0.5")
    result = lab.send("probe.hold", "job", 60, queue="replay")
    lab.wait_starts("job")
    lab.terminate(first, 40)
    lab.worker("replay")
    lab.wait_starts("job", 2)
    lab.state.set("job:go", 1)
    result.get(timeout=60)
    assert lab.ends("job") == 1


def test_the_flag_is_down_until_the_worker_stops() -> None:
    assert not drain.draining()
    drain.begin(sig="SIGTERM", how="Warm", exitcode=0)
    assert drain.draining()
    drain.reset()
    assert not drain.draining()
