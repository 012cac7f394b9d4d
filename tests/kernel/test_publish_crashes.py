"""Publishers that are killed or stopped at any point leave nothing or everything."""

from __future__ import annotations

import os
import random
import signal

import pytest
import redis

from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.tree import state_at
from tests.kernel.goal_support import expire_lease
from tests.kernel.stage_support import PROJECT, Bench, command_writes, listing, write
from tests.support.wait import wait_until

BEFORE = ("drafted", "planned")
"""Points from which a crash leaves the project as it was."""
AFTER = ("logged", "removed", "moved", "moved in", "written down", "done")

POINTS = [(point, 1) for point in BEFORE + AFTER] + [("moved", 2), ("moved", 3), ("removed", 2)]

pytestmark = pytest.mark.process


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    return Bench(state, tmp_path / "w")


class Forked:
    """A publishing process, with a listener to the points it comes to."""

    def __init__(self, publish, reached) -> None:
        self.code: int | None = None
        read, written = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.write(written, publish(reached).encode())
            finally:
                os._exit(0)
        os.close(written)
        self.output = read

    def wait(self) -> int:
        if self.code is None:
            wait_until(self._ended, timeout=30)
        assert self.code is not None
        return self.code

    def _ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def wait_stopped(self) -> None:
        def is_stopped() -> bool:
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            assert not pid or os.WIFSTOPPED(status), "it ended instead"
            return bool(pid)

        wait_until(is_stopped, timeout=30)

    def wake(self) -> str:
        """Let it go on; what it tells at its end."""
        os.kill(self.pid, signal.SIGCONT)
        self.wait()
        return os.read(self.output, 1_000).decode()

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.output)


def listener(point, nth, number):
    """Sends its process a signal at the nth time it comes to a point."""
    left = nth

    def reached(at):
        nonlocal left
        left -= at == point
        if at == point and not left:
            os.kill(os.getpid(), number)

    return reached


def child(url, root, goal_id, fence, reached) -> str:
    """Publish, or recover without a goal; the commit's number or the error's name."""
    client = redis.Redis.from_url(url)
    bench = Bench(client, root, reached=reached)
    if goal_id is None:
        return str(bench.publisher.recover(PROJECT))
    stage = bench.stages.open(PROJECT, goal_id, fence)
    try:
        commit = bench.publisher.publish(stage, lease=Lease(goal_id, "w", fence, 0.0))
    except LLMOSError as error:
        return type(error).__name__
    return str(commit.seq if commit else 0)


@pytest.fixture
def publisher(redis_server, bench):
    """Starts publishing processes, and ends those that are left."""
    started: list[Forked] = []

    def start(goal_id, fence, point, nth, number) -> Forked:
        def publish(reached) -> str:
            return child(f"{redis_server}/2", bench.workspace.root, goal_id, fence, reached)

        started.append(Forked(publish, listener(point, nth, number)))
        return started[-1]

    yield start
    for process in started:
        process.end()


def work(bench):
    """A run with every kind of change; what the project was and is to be."""
    write(bench.output, {"a.txt": "a", "b.txt": "b", "d/c.txt": "c", "d/gone.txt": "g"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "A", "n/new.txt": "N"})
    (stage.area / "b.txt").unlink()
    (stage.area / "d/gone.txt").unlink()
    command_writes(stage, "d/c.txt", "C")
    (stage.area / "empty").mkdir()
    return lease, stage, listing(bench.output), listing(stage.area)


@pytest.mark.parametrize(("point", "nth"), POINTS)
def test_kill_9_leaves_nothing_or_everything(bench, publisher, point, nth):
    lease, stage, before, after = work(bench)
    process = publisher(lease.goal_id, lease.fence, point, nth, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    bench.publisher.recover(PROJECT)
    assert listing(bench.output) == (before if point in BEFORE else after)
    commits = bench.log.of_goal(PROJECT, lease.goal_id)
    assert len(commits) == (0 if point in BEFORE else 1)
    lines = bench.folder.state / "commits.jsonl"
    assert (len(lines.read_text().splitlines()) if lines.exists() else 0) == len(commits)
    # The goal itself goes on: its run, or the next one, publishes once.
    again = bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == after
    assert bench.log.newest(PROJECT) == [again]
    stage.discard()
    bench.publisher.sweep(PROJECT)
    assert bench.debris() == []
    bench.undo(lease.goal_id)
    assert listing(bench.output) == before


@pytest.mark.parametrize("by", ["another publish", "another stage"])
def test_whoever_comes_next_finishes_it(bench, publisher, by):
    lease, _, _, after = work(bench)
    other, other_stage = bench.run()
    write(other_stage.area, {"other.txt": "o"})
    process = publisher(lease.goal_id, lease.fence, "moved", 1, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    if by == "another publish":
        bench.publisher.publish(other_stage, lease=other)
        after["other.txt"] = (b"o", 0o644)
    else:
        _, new = bench.run()
        assert listing(new.area) == after
    assert listing(bench.output) == after


@pytest.mark.parametrize(("point", "nth"), [(p, n) for p, n in POINTS if p in AFTER])
def test_a_crashed_recovery_is_recovered(bench, publisher, point, nth):
    if point == "logged":
        return  # recovery does not log
    lease, _, _, after = work(bench)
    assert publisher(lease.goal_id, lease.fence, "logged", 1, signal.SIGKILL).wait() < 0
    assert publisher(None, 0, point, nth, signal.SIGKILL).wait() == -signal.SIGKILL
    bench.publisher.recover(PROJECT)
    assert listing(bench.output) == after
    assert bench.log.state(PROJECT).pending == ""


@pytest.mark.parametrize("point", BEFORE)
def test_a_run_that_was_stopped_past_its_lease_and_woken_publishes_nothing(
    bench, publisher, state, point
):
    lease, _, before, _ = work(bench)
    process = publisher(lease.goal_id, lease.fence, point, 1, signal.SIGSTOP)
    process.wait_stopped()
    expire_lease(state, lease.goal_id)
    newer, _ = bench.goals.acquire(lease.goal_id, owner="w2")
    stage = bench.stages.open(PROJECT, lease.goal_id, newer.fence)
    assert process.wake() == "LeaseLost"
    assert listing(bench.output) == before
    commit = bench.publisher.publish(stage, lease=newer)
    assert commit.fence == newer.fence
    stage.discard()
    assert bench.debris() == []


@pytest.mark.parametrize("point", ["logged", "removed", "moved", "moved in"])
def test_one_that_was_stopped_while_moving_in_does_no_harm_when_woken(
    bench, publisher, state, point
):
    lease, _, _, after = work(bench)
    process = publisher(lease.goal_id, lease.fence, point, 1, signal.SIGSTOP)
    process.wait_stopped()
    expire_lease(state, lease.goal_id)
    # Others do not wait for it: they finish it, and go on with the same files.
    bench.goal_that_writes({"a.txt": "later", "b.txt": "later", "n/new.txt": "later"})
    bench.goal_that_writes({"d/gone.txt": "later"}, remove=["n/new.txt"])
    expected = listing(bench.output)
    assert process.wake() == "1"
    assert listing(bench.output) == expected != after
    assert bench.log.state(PROJECT).pending == ""


@pytest.mark.parametrize("seed", range(3))
def test_files_are_what_the_log_says_after_many_publishers_and_kills(bench, publisher, seed):
    """Several at once over the same few paths, most of them killed somewhere on the way."""
    chance = random.Random(seed)
    names = ["a.txt", "d/b.txt", "d/c.txt", "e/f/g.txt", "e/h.txt"]
    write(bench.output, dict.fromkeys(names[:3], "first"))
    processes = []
    for number in range(24):
        lease, stage = bench.run()
        for name in chance.sample(names, 2):
            if chance.random() < 0.3 and (stage.area / name).exists():
                (stage.area / name).unlink()
            else:
                write(stage.area, {name: f"{number}"})
        point, nth = chance.choice([*POINTS, ("never", 1)])
        processes.append(publisher(lease.goal_id, lease.fence, point, nth, signal.SIGKILL))
        if number % 4 == 3:
            for process in processes:
                process.wait()
    bench.publisher.recover(PROJECT)
    last = {}
    for commit in reversed(bench.log.newest(PROJECT)):
        for file in commit.files:
            if "." not in file.path:
                continue  # a folder, which two may make
            assert file.path not in last or file.before == last[file.path], "a lost update"
            last[file.path] = file.after
    assert len(last) > 3
    for path, left in last.items():
        assert state_at(bench.output, path) == left, path
    assert len({c.goal_id for c in bench.log.newest(PROJECT)}) == len(bench.log.newest(PROJECT))
    bench.stages.sweep(lambda _: True)
    bench.publisher.sweep(PROJECT, now=bench.clock.now() + 90_000)
    assert bench.debris() == []
