"""TERM: a worker finishes the step at hand and hands its goals on; nothing is done twice."""

from __future__ import annotations

import os
import signal

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from tests.support.script import Script, calls, says, text, use
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 60


@pytest.fixture
def script(system):
    """Scripts the model for one test."""
    real = system.rehearsal.brain

    def play(*replies):
        system.rehearsal.brain = Script(*replies)
        return system.rehearsal.brain

    yield play
    system.rehearsal.brain = real


def worker(system, role):
    return next(pid for name, pid in system.stack.workers.items() if name.startswith(role))


def terminate(system, role):
    """TERM; another worker of the role is started by the stack."""
    pid = worker(system, role)
    os.kill(pid, signal.SIGTERM)
    return pid


def states(handle):
    return [e.data["state"] for e in handle.events(timeout=5) if e.kind == "state"]


def test_a_model_s_goal_goes_on_in_another_worker_with_nothing_bought_or_run_twice(
    llmos, system, project, output, script
):
    """TERM while the second answer of four comes; each answer's command leaves one line."""
    turns = [calls(use("Bash", n, command=f"echo turn {n} >> log.txt")) for n in (1, 2, 3)]
    asked = script(*turns, says(text("Done.")))
    system.rehearsal.faults.next("slow:0", "hold:1")
    handle = llmos.submit("Keep a log of three turns", project=project)
    wait_until(lambda: len(asked.requests) == 2, TIMEOUT, what="the second turn is asked for")
    first = terminate(system, "llm")
    system.rehearsal.faults.release()
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "SUCCEEDED", outcome.error
    assert (output / "log.txt").read_text() == "turn 1\nturn 2\nturn 3\n"
    assert len(asked.requests) == outcome.llm_calls == 4
    assert handle.record().deliveries == 1, "a start that was handed on is no failed one"
    assert (states(handle).count("RUNNING"), states(handle)[-3]) == (2, "DISPATCHED")
    assert handle.record().lease_owner is None
    assert worker(system, "llm") != first


def test_a_replay_begins_again_in_another_worker(llmos, system, project, output, script):
    steps = [use("Bash", n, command=f"sleep 0.4; echo {n} >> log.txt") for n in range(1, 7)]
    asked = script(*(calls(step) for step in steps), says(text("Done.")))
    assert llmos.submit("Count slowly", project=project).result(TIMEOUT).ok
    (output / "log.txt").unlink()
    handle = llmos.submit("Count slowly", project=project)
    wait_until(lambda: handle.status() is GoalState.RUNNING, TIMEOUT, what="it is replayed")
    terminate(system, "replay")
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.FOLLOWER), outcome.reason
    assert (output / "log.txt").read_text() == "".join(f"{n}\n" for n in range(1, 7))
    assert len(asked.requests) == 7, "the replay asked no model"
    assert handle.record().deliveries == 1
    assert states(handle).count("RUNNING") == 2
