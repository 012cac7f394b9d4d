"""Processes are ended hard; no task is lost, and none runs twice without need."""

from __future__ import annotations

import os
import signal

import pytest

from llmos_workers.worker_lease import HeldDeliveries
from tests.queue.conftest import VISIBILITY_SECS, Lab
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def test_a_killed_child_gives_its_task_back_at_once(lab: Lab) -> None:
    """kill -9 of a prefork child; the same worker runs the task again."""
    # With an hour's visibility timeout only the worker itself can give the task back.
    worker = lab.worker("replay", LLMOS_REDIS__VISIBILITY_TIMEOUT_SECS="3600")
    assert lab.send("probe.die_once", "deaths", queue="replay").get(timeout=30) == "survived"
    assert lab.state.get("deaths") == b"2"
    assert worker.pid is not None


@pytest.mark.parametrize("role", ["llm", "replay"])
def test_a_killed_worker_s_task_runs_elsewhere(lab: Lab, role: str) -> None:
    """kill -9 of a whole worker: delivered exactly once more, after the visibility timeout."""
    first = lab.worker(role)
    result = lab.send("probe.hold", "job", 60, queue=role)
    lab.wait_starts("job")
    lab.worker(role)
    lab.kill(first)
    lab.wait_starts("job", 2)
    lab.state.set("job:go", 1)
    result.get(timeout=60)
    assert (lab.starts("job"), lab.ends("job")) == (2, 1)
    wait_until(lambda: lab.unacked() == 0, what="nothing is left to deliver")


def test_a_task_longer_than_the_visibility_timeout_runs_once(lab: Lab) -> None:
    """An idle second worker would take it if nobody renewed the delivery."""
    lab.worker("llm")
    lab.worker("llm")
    result = lab.send("probe.hold", "long", VISIBILITY_SECS * 2.5, queue="llm")
    result.get(timeout=VISIBILITY_SECS * 2.5 + 5)
    assert (lab.starts("long"), lab.ends("long")) == (1, 1)


def test_a_stopped_worker_loses_its_hold(lab: Lab) -> None:
    """SIGSTOP: the process is there, but nothing renews. Another worker must get the task."""
    frozen = lab.worker("llm")
    result = lab.send("probe.hold", "job", 60, queue="llm")
    lab.wait_starts("job")
    assert frozen.pid is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    lab.worker("llm")
    lab.wait_starts("job", 2)
    lab.state.set("job:go", 1)
    result.get(timeout=60)
    assert lab.ends("job") == 1


def test_a_restarted_broker_costs_no_worker_and_no_task(lab: Lab) -> None:
    """The server goes away with a task in flight; the worker reconnects and goes on."""
    worker = lab.worker("llm")
    result = lab.send("probe.hold", "job", 60, queue="llm")
    lab.wait_starts("job")
    pid = worker.pid
    lab.server.stop()
    lab.server.start()
    assert lab.send("probe.echo", 1, queue="llm").get(timeout=60) == "1"
    lab.state.set("job:go", 1)
    result.get(timeout=60)
    assert worker.pid == pid


def test_renewals_end_with_the_longest_run() -> None:
    """A delivery that is held for ever is not renewed for ever."""
    held = HeldDeliveries(max_age=10)
    assert held.to_renew(["a"], now=0) == ["a"]
    assert held.to_renew(["a", "b"], now=9) == ["a", "b"]
    assert held.to_renew(["a", "b"], now=11) == ["b"]
    assert held.to_renew([], now=12) == []
    assert held.to_renew(["a"], now=13) == ["a"]
