"""The zygote: what it shares with no one, whom it outlives, who outlives it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.execution.sandbox import Sandbox, SandboxResult, launch, zygote
from llmos_workers.execution.sandbox.zygote import ZYGOTE, Zygote
from tests.support.wait import wait_until

LAST_WORDS_S = 10.0
"""As in confined.zygote, which can only be run."""
SECRET = "canary-secret-7654321"
WORKER = """
import os, sys, threading, time
from pathlib import Path
from llmos_workers.execution.sandbox.level1 import ConfinedSandbox
from llmos_workers.execution.sandbox.zygote import ZYGOTE
area = Path(sys.argv[1])
sandbox = ConfinedSandbox()
sandbox.prepare(area)
def bash(command):
    return sandbox.run(["/bin/bash", "-c", command], cwd=area, timeout_s=60).output.strip()
def say(*words):
    print(*words, flush=True)
"""


def bash(sandbox: Sandbox, area: Path, command: str, timeout_s: float = 30) -> SandboxResult:
    sandbox.prepare(area)
    return sandbox.run(["/bin/bash", "-c", command], cwd=area, timeout_s=timeout_s)


def in_thread(sandbox: Sandbox, area: Path, command: str, **options: float) -> list[object]:
    """Start a command; what it comes to, or its error, is appended to the list."""
    found: list[object] = []

    def call() -> None:
        try:
            found.append(bash(sandbox, area, command, **options))
        except SandboxUnavailable as error:
            found.append(error)

    threading.Thread(target=call, daemon=True).start()
    return found


@contextlib.contextmanager
def worker(area: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER + script, str(area)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ANTHROPIC_API_KEY": SECRET},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def running(marker: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker in path.read_bytes().decode(errors="replace").split("\0"):
                found.append(int(path.parent.name))
    return found


def children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kinds(pid: int) -> list[str]:
    """What the descriptors of a process are, but for what it is just reading of /proc."""
    names = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(str(fd.readlink()))
    return [re.sub(r"^(pipe|socket):.*", r"\1", n) for n in names if not n.startswith("/proc/")]


def launcher_of(found: int) -> int:
    """The launcher above a command's process: the child of our zygote."""
    while (parent := int(Path(f"/proc/{found}/stat").read_text().split()[3])) != ZYGOTE.pid:
        found = parent
    return found


@pytest.fixture
def marker(request: pytest.FixtureRequest) -> str:
    return f"4400.{os.getpid()}{abs(hash(request.node.name)) % 10_000}"


@pytest.mark.process
def test_a_killed_worker_leaves_neither_zygote_nor_command(area: Path, marker: str) -> None:
    script = (
        f"say(bash('echo started'), ZYGOTE.pid)\nbash('setsid sleep {marker} & sleep {marker}')"
    )
    with worker(area, script) as process:
        _, pid = said(process)
        wait_until(lambda: len(running(marker)) >= 2, what="the command runs")
        process.kill()
        wait_until(lambda: not running(marker), what="the command is gone")
        wait_until(lambda: not alive(int(pid)), what="the zygote is gone")


@pytest.mark.process
def test_a_fork_that_holds_the_pipes_does_not_keep_a_dead_workers_command(
    area: Path, marker: str
) -> None:
    script = f"""
threading.Thread(target=bash, args=("sleep {marker}",), daemon=True).start()
sys.stdin.readline()
if not os.fork():
    time.sleep(600)
say("forked", ZYGOTE.pid)
time.sleep(600)
"""
    with worker(area, script) as process:
        wait_until(lambda: running(marker), what="the command runs")
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        _, pid = said(process)
        (fork,) = [c for c in children(process.pid) if c != int(pid)]
        try:
            process.kill()
            soon = LAST_WORDS_S / 2  # by the launcher, not by the zygote's patience
            wait_until(lambda: not running(marker), timeout=soon, what="the command is gone")
            wait_until(lambda: not alive(int(pid)), what="the zygote is gone")
            assert alive(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


@pytest.mark.process
def test_a_fork_of_the_worker_has_a_zygote_of_its_own(area: Path) -> None:
    script = """
say(bash("echo before"), ZYGOTE.pid)
held = ZYGOTE._lock.acquire()
child = os.fork()
if not child:
    say(bash("echo child"), ZYGOTE.pid)
    os._exit(0)
os.waitpid(child, 0)
ZYGOTE._lock.release()
say(bash("echo after"), ZYGOTE.pid)
"""
    with worker(area, script) as process:
        before, child, after = said(process), said(process), said(process)
    assert [before[0], child[0], after[0]] == ["before", "child", "after"]
    assert before[1] == after[1] != child[1]
    for pid in (before[1], child[1]):
        wait_until(lambda pid=pid: not alive(int(pid)), what="the zygote ends with its worker")


@pytest.mark.process
def test_nothing_of_the_workers_environment_is_in_zygote_or_command(area: Path) -> None:
    inside = "env | cut -d= -f1"
    with worker(area, f"say(*bash({inside!r}).split(), ZYGOTE.pid)\nsys.stdin.readline()") as w:
        *names, pid = said(w)
        environment = Path(f"/proc/{pid}/environ").read_text()
    assert environment == "LANG=C.UTF-8\0"
    assert "PATH" in names
    known = {"HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "SHELL", "TMPDIR"}
    assert set(names) <= known | {"PWD", "OLDPWD", "SHLVL", "_"}


def test_a_command_sees_no_pipe_but_its_own(sandbox: Sandbox, area: Path, marker: str) -> None:
    other = in_thread(sandbox, area, f"sleep {marker}; true", timeout_s=20)
    wait_until(lambda: running(marker), what="another command runs")
    held = Counter(kinds(launcher_of(running(marker)[0])))
    # Its pipes and the fault's; the worker and the command; the rules. No socket, no one else's.
    assert held == {"pipe": 4, "anon_inode:[pidfd]": 2, "anon_inode:[landlock-ruleset]": 1}
    done = bash(sandbox, area, "ls -l /proc/self/fd")
    links = dict(re.findall(r" (\d+) -> (\S+)", done.output))
    listing = links.pop("3")  # ls's own
    assert listing.startswith("/proc/")
    assert links.pop("0") == "/dev/null"
    assert set(links) == {"1", "2"}
    assert links["1"] == links["2"]
    assert links["1"].startswith("pipe:")
    os.kill(running(marker)[0], signal.SIGKILL)
    wait_until(lambda: other, what="the other command ends")


def test_twenty_threads_at_once_get_each_their_own(sandbox: Sandbox, area: Path) -> None:
    found = [in_thread(sandbox, area, f"sleep 0.2; echo {n}; exit {n}") for n in range(20)]
    wait_until(lambda: all(found), timeout=60, what="all ended")
    results = [done for (done,) in found]
    assert all(isinstance(done, SandboxResult) for done in results), results
    assert [(done.output, done.exit_code) for done in results] == [(f"{n}\n", n) for n in range(20)]
    wait_until(lambda: not children(ZYGOTE.pid), what="all launchers are collected")


def test_a_killed_zygote_is_replaced_and_its_commands_go_on(
    sandbox: Sandbox, area: Path, marker: str
) -> None:
    under_way = in_thread(sandbox, area, f"sleep {marker}; echo went on")
    (sleeping,) = wait_until(lambda: running(marker), what="the command runs")
    first = ZYGOTE.pid
    os.kill(first, signal.SIGKILL)
    assert bash(sandbox, area, "echo again").output == "again\n"
    assert ZYGOTE.pid != first
    assert not under_way
    os.kill(sleeping, signal.SIGKILL)
    (done,) = wait_until(lambda: under_way, what="the first call ends")
    assert isinstance(done, SandboxResult)
    assert "went on" in done.output


def test_a_zygote_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "GRACE_S", 0.5)
    own = Zygote()
    try:
        with own.launcher():
            first = own.pid
        os.kill(first, signal.SIGSTOP)
        with own.launcher() as launcher:
            assert own.pid != first
            assert not alive(first)
            launcher.control.close()
            assert launcher.ended(10), "a launcher without an order ends"
    finally:
        own.forget()


def test_a_broken_off_exchange_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody took must not become the next caller's."""
    own = Zygote()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        with own.launcher():
            first = own.pid
        with monkeypatch.context() as patched:
            patched.setattr(zygote.socket, "recv_fds", interrupted)
            with pytest.raises(KeyboardInterrupt), own.launcher():
                pass
        with own.launcher() as launcher:
            assert own.pid != first
            assert not launcher.ended(0)
    finally:
        own.forget()


def test_what_a_killed_launcher_leaves_is_ended(sandbox: Sandbox, area: Path, marker: str) -> None:
    found = in_thread(sandbox, area, f"setsid sleep {marker} & sleep {marker}")
    wait_until(lambda: len(running(marker)) >= 2, what="the command runs")
    os.kill(launcher_of(running(marker)[0]), signal.SIGKILL)
    (error,) = wait_until(lambda: found, what="the call ends")
    assert isinstance(error, SandboxUnavailable)
    wait_until(lambda: not running(marker), what="the zygote ended the rest")
    wait_until(lambda: not children(ZYGOTE.pid), what="all are collected")


def test_a_launcher_that_hangs_is_killed(
    sandbox: Sandbox, area: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "GRACE_S", 0.3)
    found = in_thread(sandbox, area, f"setsid sleep {marker} & sleep {marker}", timeout_s=1)
    wait_until(lambda: len(running(marker)) >= 2, what="the command runs")
    os.kill(launcher_of(running(marker)[0]), signal.SIGSTOP)
    (done,) = wait_until(lambda: found, what="the call ends")
    assert isinstance(done, SandboxResult)
    assert done.timed_out
    wait_until(lambda: not running(marker), what="the zygote ended the rest")


def test_a_zygote_that_cannot_start_is_an_unavailable_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zygote, "PROGRAM", tmp_path / "missing.py")
    with pytest.raises(SandboxUnavailable, match="could not be confined"), Zygote().launcher():
        pass
