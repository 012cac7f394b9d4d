"""Processes and the server are ended hard while goals run: none is lost, none is paid for twice
in the books, none ends twice.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from llmos_workers.app import make_app
from llmos_workers.client import LLMOS, GoalHandle
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.embedded.discovery import process_started
from llmos_workers.embedded.local import LocalSystem
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

TIMEOUT = 90
STARTS = 4
"""Of one goal, before it is given up."""
NOTE = "Write a note"
SLEEP = "Sleep for 2 seconds"

NOTE_FAMILY = """
name: note
short: write a note
example: Write a note
all: [[note]]
turns:
  - calls: [{id: write, tool: Write, args: {path: note.txt, content: "noted\\n"}}]
answer: I wrote note.txt.
"""

SLEEP_FAMILY = """
name: sleep
short: sleep for some seconds
example: Sleep for 2 seconds
all: [[sleep]]
values: {seconds: {take: [{number: 0}], required: true}}
turns:
  - calls:
      - id: sleep
        tool: Bash
        args:
          command: "sleep {{ seconds }}.001 & sleep {{ seconds }}.002 & sleep {{ seconds }}.003"
answer: I slept.
"""

NAMES_FAMILY = """
name: names
short: write down the names of the Markdown files
example: Collect the names of the Markdown files
all: [[collect], [names]]
turns:
  - calls: [{id: ls, tool: Bash, args: {command: "ls *.md"}}]
  - calls: [{id: write, tool: Write, args: {path: names.txt, content: "{{ r.ls.output }}"}}]
answer: The names are in names.txt.
"""

_numbers = itertools.count()


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """A system of this module's own, whose parts may be ended.

    A busy machine fails to renew so short a lease now and then, which is a lost start too: enough
    of them are forgiven.
    """
    folder = tmp_path_factory.mktemp("loss")
    skills = folder / "skills"
    skills.mkdir()
    families = {"note": NOTE_FAMILY, "sleep": SLEEP_FAMILY, "names": NAMES_FAMILY}
    for name, family in families.items():
        (skills / f"{name}.yaml").write_text(family)
    config = LLMOSConfig.from_dict(
        {
            "workspace": folder / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 1.5, "max_deliveries": STARTS},
            "redis": {"visibility_timeout_secs": 3},
        }
    )
    roles = {"dispatch": 2, "llm": 4, "replay": 2}
    with LocalSystem(config, roles=roles, rehearsal_options={"skills": skills}) as running:
        yield running


@pytest.fixture
def system(lossy: LocalSystem) -> Iterator[LocalSystem]:
    """The system with all its workers up and no fault left over."""
    assert lossy.rehearsal is not None
    wait_until(lambda: len(lossy.stack.workers) == 3, what="all workers run")
    lossy.rehearsal.faults.clear()
    yield lossy
    lossy.rehearsal.faults.release()


@pytest.fixture
def llmos(system: LocalSystem) -> Iterator[LLMOS]:
    with LLMOS(system.config) as client:
        yield client


@pytest.fixture
def project() -> str:
    return f"loss-{next(_numbers)}"


@pytest.fixture(scope="module")
def sleeping(lossy: LocalSystem) -> str:
    """A project in which SLEEP is known, so that it is replayed."""
    with LLMOS(lossy.config) as client:
        assert client.submit(SLEEP, project="sleeping").result(TIMEOUT).ok
    return "sleeping"


def worker(system: LocalSystem, role: str) -> int:
    """Process id of a role's worker."""
    return next(pid for name, pid in system.stack.workers.items() if name.startswith(role))


def holder(handle: GoalHandle) -> int:
    """Process id of the run that holds a goal; 0 while none does."""
    record = handle.record()
    owner = record.lease_owner if record.state is GoalState.RUNNING else None
    return int(owner.split(":")[1]) if owner else 0


def held(system: LocalSystem, llmos: LLMOS, project: str) -> GoalHandle:
    """A goal whose model is in mid-answer and does not go on until the faults are released."""
    handle = llmos.submit(NOTE, project=project)
    wait_until(lambda: sent(llmos, handle), what="the model is asked")
    return handle


def sent(llmos: LLMOS, handle: GoalHandle) -> bool:
    """Whether a request of the goal is at the model."""
    economy = llmos.token_economy
    return any(r.goal_id == handle.id and r.state == "sent" for r in economy.reservations())


def final_states(handle: GoalHandle) -> list[str]:
    states = [e.data["state"] for e in handle.events(timeout=5) if e.kind == "state"]
    return [state for state in states if GoalState(state).final]


def assert_booked(llmos: LLMOS, outcome: Outcome) -> None:
    """The outcome's cost is what the ledger holds for the goal."""
    ledger = llmos.token_economy.ledger(count=10_000)
    booked = [e.micro for e in ledger if e.goal_id == outcome.goal_id and e.kind == "settle"]
    assert outcome.cost_micro == sum(booked) > 0


def sleepers(seconds: int) -> list[int]:
    """Process ids of the commands of the sleep family for so many seconds."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name, *arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if name == b"sleep" and arguments[0].startswith(f"{seconds}.00".encode()):
            found.append(int(folder.name))
    return found


def test_a_goal_outlives_the_worker_that_waits_for_its_model(system, llmos, project):
    """kill -9 of the llm worker in mid-answer."""
    system.rehearsal.faults.next("hold")
    handle = held(system, llmos, project)
    pid = worker(system, "llm")
    assert holder(handle) == pid
    os.kill(pid, signal.SIGKILL)
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.LEARNER), outcome.error
    assert final_states(handle) == ["SUCCEEDED"]
    assert handle.record().fence >= 2
    assert_booked(llmos, outcome)
    assert worker(system, "llm") != pid
    again = llmos.submit(NOTE, project=project).result(TIMEOUT)
    assert (again.mode, again.trace_id) == (Mode.FOLLOWER, outcome.learned_trace_id)


def test_a_goal_outlives_the_child_that_replays_it(system, llmos, sleeping):
    """kill -9 of a prefork child in mid-replay: the worker starts another, which does it."""
    parent = worker(system, "replay")
    handle = llmos.submit(SLEEP, project=sleeping)
    child = wait_until(lambda: sleepers(2) and holder(handle), what="a child replays it")
    assert child not in (parent, worker(system, "llm"))
    os.kill(child, signal.SIGKILL)
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.mode, outcome.cost_micro) == ("SUCCEEDED", Mode.FOLLOWER, 0)
    assert final_states(handle) == ["SUCCEEDED"]
    assert handle.record().fence >= 2
    assert worker(system, "replay") == parent
    wait_until(lambda: not sleepers(2), what="nothing of the killed run is left")


def test_a_goal_outlives_the_server(system, llmos, project):
    """kill -9 of valkey in mid-goal: the stack starts it again on its data."""
    system.rehearsal.faults.next("hold")
    handle = held(system, llmos, project)
    pid = system.stack.server_pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.stack.server_pid not in (None, pid), what="another server runs")
    system.rehearsal.faults.release()
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "SUCCEEDED", outcome.error
    assert final_states(handle) == ["SUCCEEDED"]
    assert_booked(llmos, outcome)


def test_a_worker_told_to_stop_loses_nothing(system, llmos, project):
    """TERM of the llm worker in mid-goal: the goal ends, by that worker or the next."""
    system.rehearsal.faults.next("hold")
    handle = held(system, llmos, project)
    pid = worker(system, "llm")
    os.kill(pid, signal.SIGTERM)
    waiting = llmos.submit("Write a note", project=f"{project}-b")
    system.rehearsal.faults.release()
    assert [h.result(TIMEOUT).status for h in (handle, waiting)] == ["SUCCEEDED", "SUCCEEDED"]
    assert final_states(handle) == ["SUCCEEDED"]
    assert_booked(llmos, handle.result(1))
    wait_until(lambda: not process_started(pid), what="the worker has stopped")


def test_a_goal_that_ends_each_of_its_runs_is_dead(system, llmos, sleeping):
    """Its child is killed in each replay: given up after the configured number of starts."""
    handle = llmos.submit(SLEEP, project=sleeping)
    killed = 0

    def next_child() -> int:
        record = handle.record()
        return record.state.final or (record.fence > killed and holder(handle))

    while (child := wait_until(next_child, TIMEOUT, "another start")) is not True:
        killed = handle.record().fence
        os.kill(child, signal.SIGKILL)
    assert killed >= STARTS
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.error.kind) == ("DEAD", "PoisonGoal")
    assert final_states(handle) == ["DEAD"]
    wait_until(lambda: not sleepers(2), what="nothing of the killed runs is left")


def test_a_cancelled_command_s_processes_are_gone(system, llmos, project):
    handle = llmos.submit("Sleep for 333 seconds", project=project)
    wait_until(lambda: len(sleepers(333)) == 3, what="the command and its children run")
    handle.cancel()
    outcome = handle.result(TIMEOUT)
    assert outcome.status == "CANCELLED"
    assert not sleepers(333)
    assert_booked(llmos, outcome)


def test_a_replay_that_meets_a_difference_goes_on_with_a_model(system, llmos, project):
    """The whole way: replay child, hand-over, model, healed trace, replay."""
    goal = "Collect the names of the Markdown files"
    output = system.config.workspace / "projects" / project / "output"
    output.mkdir(parents=True)
    (output / "a.md").touch()
    learned = llmos.submit(goal, project=project).result(TIMEOUT)
    assert learned.ok, learned.error
    assert llmos.submit(goal, project=project).result(TIMEOUT).mode is Mode.FOLLOWER
    (output / "b.md").touch()
    handle = llmos.submit(goal, project=project)
    outcome = handle.result(TIMEOUT)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.MIXED), outcome.error
    assert "step 1 of the replay differed" in outcome.reason
    assert outcome.learned_trace_id == learned.learned_trace_id
    assert (output / "names.txt").read_text().split() == ["a.md", "b.md"]
    decided = [e.data["mode"] for e in handle.events(timeout=5) if "mode" in e.data]
    assert decided == ["FOLLOWER", "MIXED"]
    again = llmos.submit(goal, project=project).result(TIMEOUT)
    assert (again.mode, again.trace_version) == (Mode.FOLLOWER, 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_pool_that_shrinks_and_grows_loses_no_goal(system, llmos, project):
    """Children are told to go while goals are on their way to them."""
    assert llmos.submit(NOTE, project=project).result(TIMEOUT).ok
    app = make_app(system.config)
    with app.connection() as connection:
        ask = partial(app.control.broadcast, connection=connection, reply=True, timeout=5)
        (name,) = (n for r in ask("ping", limit=3) for n in r if n.startswith("replay"))
        handles = []
        for _ in range(12):
            for change in ("pool_shrink", "pool_grow"):
                handles += [llmos.submit(NOTE, project=project) for _ in range(5)]
                ask(change, arguments={"n": 1}, destination=[name], limit=1)
    app.close()
    outcomes = [handle.result(TIMEOUT) for handle in handles]
    assert {(each.status, each.mode) for each in outcomes} == {("SUCCEEDED", Mode.FOLLOWER)}
