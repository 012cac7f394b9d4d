"""The confined process holds also what the policy would have let pass."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmos_workers.contracts.tools import ToolResult
from llmos_workers.execution.crystal import runners as module
from llmos_workers.execution.crystal.channel import PROGRAM
from llmos_workers.execution.crystal.runners import Program, ProgramFault, Runners
from llmos_workers.execution.sandbox import probe
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(probe().level < 1, reason="this host confines nothing")

OK = ToolResult(ok=True, output="said\n")
OS = 'os = tools.call.__func__.__globals__["os"]'
"""The way out of Python that a hole in the policy would leave."""


@pytest.fixture
def runners():
    made = Runners()
    yield made
    made.close()


def run(runners, body, answer=OK, **arguments):
    """Run a function body, unchecked; its calls and what it returned."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = Program.of("f", f"def f(**given):\n{lines}\n")
    calls = []
    with runners.session(program, arguments) as session:
        while (call := session.next_call()) is not None:
            calls.append((call.name, call.arguments))
            session.told(answer)
    return calls, session.value


def test_a_call_goes_out_and_its_result_comes_in(runners):
    body = 'r = tools.call("Write", path=given["p"])\nreturn r.output + str([r.ok, r.exit_code])'
    calls, value = run(runners, body, p="a.txt")
    assert calls == [("Write", {"path": "a.txt"})]
    assert value == "said\n[True, None]"


def test_one_process_serves_many_runs_each_in_a_fork_of_its_own(runners):
    run(runners, 'json.left = "behind"\nreturn "x"')
    (first,) = runners._idle
    with pytest.raises(ProgramFault, match="left"):
        run(runners, "return json.left")
    run(runners, 'return "x"')
    (second,) = runners._idle
    assert second is not first, "after a fault a fresh process"


@pytest.mark.parametrize(
    "body",
    [
        f'{OS}\nreturn str(os.open("/etc/passwd", 0))',
        f'{OS}\nreturn str(os.listdir("/"))',
        f'{OS}\nreturn str(os.mkdir("/tmp/llmos-out"))',
        f"{OS}\nreturn str(os.fork())",
        f'{OS}\nreturn str(os.execv("/bin/true", ["true"]))',
        f"{OS}\nreturn str(os.kill(os.getpid(), 9) or os.getppid())",
        f"{OS}\nreturn str(os.pipe())",
        f'{OS}\nreturn str(os.write(3, b"."))',
        f"{OS}\nreturn str(os.read(4, 1))",
    ],
    ids=["read", "list", "write", "fork", "exec", "kill", "pipe", "status", "worker"],
)
def test_no_system_call_gets_through(runners, body):
    with pytest.raises(ProgramFault, match=r"Operation not permitted|Bad file descriptor"):
        run(runners, body)


def test_it_has_no_environment_and_no_other_descriptor(runners, monkeypatch):
    monkeypatch.setenv("CANARY", "sk-ant-canary")
    assert run(runners, f"{OS}\nreturn str(dict(os.environ))")[1].count("canary") == 0


def test_a_loop_without_end_is_killed(runners, monkeypatch):
    monkeypatch.setattr(module, "THINK_S", 0.5)
    with pytest.raises(ProgramFault, match="takes too long"):
        run(runners, "while True:\n    pass")
    assert runners._idle == []


def test_memory_without_end_is_refused(runners):
    with pytest.raises(ProgramFault, match="MemoryError"):
        run(runners, 'x = "a" * 10**10\nreturn x')


def test_calls_without_end_are_refused(runners, monkeypatch):
    monkeypatch.setattr(module, "MAX_CALLS", 5)
    with pytest.raises(ProgramFault, match="more than 5 calls"):
        run(runners, 'for n in range(9):\n    tools.call("Read", path="x")')


def test_who_goes_on_after_the_end_serves_nobody_else(runners):
    write = 'tools.call.__func__.__globals__["write_frame"]'
    _, value = run(
        runners, f'{write}({{"value": "early"}})\n{write}({{"value": "late"}})\nreturn ""'
    )
    assert value == "early"
    assert run(runners, 'return "mine"')[1] == "mine", "not the words of the run before"


@pytest.mark.parametrize(
    "words", ["[]", '"x"', '{"call": "x"}', '{"call": ["x", 1]}', "{", "1" * 9]
)
def test_what_is_no_frame_is_a_fault(runners, words):
    body = f"""{OS}
data = {words!r}.encode()
os.write(1, len(data).to_bytes(4, "big") + data)
return "x" """
    with pytest.raises(ProgramFault):
        run(runners, body.replace(".encode()", '.encode("utf-8")'))


def test_a_runner_that_was_killed_is_replaced(runners):
    run(runners, 'return "x"')
    (channel,) = runners._idle
    os.kill(channel.pid, signal.SIGKILL)
    os.waitpid(channel.pid, 0)
    assert run(runners, 'return "y"')[1] == "y"


def test_a_runner_ends_with_its_worker():
    """Also when that is killed in the middle of a run."""
    code = (
        "from llmos_workers.execution.crystal.runners import Program, Runners\n"
        "program = Program.of('f', 'def f():\\n    tools.call(\"Read\")\\n')\n"
        "with Runners().session(program, {}) as session:\n"
        "    session.next_call()\n"
        "    print(session.channel.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        forks = children_of(pid)
        assert forks
        worker.kill()
    wait_until(lambda: not any(map(running, [pid, *forks])), what="the runner and its fork end")


def children_of(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_runs_side_by_side_have_a_process_each(runners):
    both = threading.Barrier(2, timeout=20)
    values = []

    def one(word):
        program = Program.of("f", f"def f():\n    tools.call('Read')\n    return {word!r}\n")
        with runners.session(program, {}) as session:
            session.next_call()
            both.wait()
            session.told(OK)
            session.next_call()
        values.append(session.value)

    threads = [threading.Thread(target=one, args=(word,)) for word in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(values) == ["a", "b"]


def test_the_runner_is_standard_library_and_the_sandbox_only():
    source = Path(PROGRAM).read_text()
    assert "llmos_workers" not in source
