"""Each attack first succeeds without the sandbox and then fails inside it.

Attacks that would harm the machine when they succeed (a fork bomb, ending other processes) are
only shown to be bounded inside.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_workers.execution.sandbox import Limits, Sandbox
from tests.support.wait import wait_until

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
SECRET = "canary-secret-1234567"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Things outside the area that an attack would like to have."""
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "secret").write_text(SECRET)
    (outside / "control" / "agents").mkdir(parents=True)
    (outside / "control" / "agents" / "a.md").write_text("tools: []\n")
    for path in (outside / "control").rglob("*"):
        path.chmod(0o777)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    listener = socket.create_server(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(str(outside / "dgram"))
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(outside / "sock"))
    local.listen()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0llmos-test-{os.getpid()}")
    abstract.listen()
    victim = subprocess.Popen(
        ["sleep", "600"], env={"ANTHROPIC_API_KEY": SECRET, "PATH": os.environ["PATH"]}
    )
    try:
        yield {
            "outside": str(outside),
            "port": str(listener.getsockname()[1]),
            "abstract": f"llmos-test-{os.getpid()}",
            "victim": str(victim.pid),
            "worker": str(os.getpid()),
            "control": str(outside / "control"),
            "python": PYTHON,
        }
    finally:
        victim.kill()
        victim.wait()
        for opened in (listener, datagrams, local, abstract):
            opened.close()


def freely(command: str, area: Path) -> tuple[int, str]:
    """Run a command without a sandbox, as a naive worker would."""
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=area,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


ATTACKS = {
    "write outside": "echo hit > {outside}/written && echo BREACH",
    "write to /tmp": "f=$(mktemp /tmp/llmos-redteam-XXXXXX) && rm $f && echo BREACH",
    "append to a file outside": "echo x >> {outside}/secret && echo BREACH",
    "truncate outside": "truncate -s 3 {outside}/secret && echo BREACH",
    "remove outside": "rm {outside}/secret && echo BREACH",
    "rename outside": "mv {outside}/secret {outside}/moved && echo BREACH",
    "hard link to outside": "ln {outside}/secret hard && grep -q canary hard && echo BREACH",
    "read outside": "grep -q canary {outside}/secret && echo BREACH",
    "read through a symlink": "ln -s {outside}/secret s && grep -q canary s && echo BREACH",
    "read through /proc/self/root": "grep -q canary /proc/self/root{outside}/secret && echo BREACH",
    "list outside": "ls {outside} | grep -q secret && echo BREACH",
    "read another's environment": "grep -qa canary /proc/{victim}/environ && echo BREACH",
    "read its own keys": "env | grep -q canary && echo BREACH",
    "read /etc/shadow": "grep -q root /etc/shadow && echo BREACH",
    "tcp": "exec 3<>/dev/tcp/127.0.0.1/{port} && echo BREACH",
    "udp": "echo x > /dev/udp/127.0.0.1/9 && echo BREACH",
    "unix socket": (
        '{python} -c "import socket; s = socket.socket(socket.AF_UNIX);'
        " s.connect('{outside}/sock'); print('BREACH')\""
    ),
    "abstract unix socket": (
        '{python} -c "import socket; s = socket.socket(socket.AF_UNIX);'
        " s.connect(chr(0) + '{abstract}'); print('BREACH')\""
    ),
    "datagram through a socket pair": (
        '{python} -c "import socket; a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM);'
        " a.sendto(b'x', '{outside}/dgram'); print('BREACH')\""
    ),
    "signal another process": "kill -0 {victim} && echo BREACH",
    "namespaces": "unshare -Ur true && echo BREACH",
    "mount": "mkdir m && unshare -m mount -t tmpfs none m && echo BREACH",
    "ptrace": (
        '{python} -c "import ctypes; l = ctypes.CDLL(None);'
        " print('BREACH' if l.ptrace(16, {victim}, 0, 0) == 0 else 'no')\""
    ),
    "io_uring": (
        '{python} -c "import ctypes; b = ctypes.create_string_buffer(256);'
        " print('BREACH' if ctypes.CDLL(None).syscall(425, 4, b) >= 0 else 'no')\""
    ),
    "shared memory that stays": (
        '{python} -c "import ctypes; l = ctypes.CDLL(None); i = l.shmget(0, 4096, 0o1600);'
        " l.shmctl(i, 0, None); print('BREACH' if i >= 0 else 'no')\""
    ),
    "memory": f"{PYTHON} -c \"x = bytearray(b'x') * (3 << 29); print('BREACH')\"",
    "read init's environment": "cat /proc/1/environ > /dev/null && echo BREACH",
    "change the control plane": "echo 'tools: [Bash]' >> {control}/agents/a.md && echo BREACH",
    "add to the control plane": "echo x > {control}/agents/b.md && echo BREACH",
    "change it through a link": "ln -s {control} c && echo x >> c/agents/a.md && echo BREACH",
    "stop another process": "kill -STOP {victim} && kill -CONT {victim} && echo BREACH",
    "signal the worker": "kill -CONT {worker} && echo BREACH",
    "shared memory": "f=/dev/shm/llmos-redteam-$$; echo x > $f && rm $f && echo BREACH",
    "a core dump's limit": "ulimit -c unlimited && echo BREACH",
    "become root": "{python} -c \"import os; os.setuid(0); print('BREACH')\"",
    "a program that makes root": "cp /bin/true t && chown 0 t && chmod u+s t && echo BREACH",
    "type into a terminal": (
        '{python} -c "import fcntl, os, pty, termios; m, s = pty.openpty(); os.setsid();'
        " fcntl.ioctl(s, termios.TIOCSCTTY, 0); fcntl.ioctl(s, termios.TIOCSTI, b'x');"
        " print('BREACH')\""
    ),
    "ptrace the worker": (
        '{python} -c "import ctypes; l = ctypes.CDLL(None);'
        " print('BREACH' if l.ptrace(0x4206, {worker}, 0, 0) == 0 else 'no');"
        ' l.ptrace(17, {worker}, 0, 0)"'
    ),
    "big file": "head -c 300000000 /dev/zero > big && echo BREACH",
}
HOST_MAY_REFUSE = {
    *("mount", "namespaces", "io_uring", "read /etc/shadow", "memory", "read init's environment"),
    *("a core dump's limit", "become root", "a program that makes root", "type into a terminal"),
    "ptrace the worker",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_works_outside_and_fails_inside(
    name: str, sandbox: Sandbox, area: Path, target: dict[str, str]
) -> None:
    command = ATTACKS[name].format(**target)
    sandbox.prepare(area)
    inside = sandbox.run(
        ["/bin/bash", "-c", command],
        cwd=area,
        timeout_s=20,
        limits=Limits(memory=512 << 20, file_size=64 << 20),
    )
    assert "BREACH" not in inside.output
    assert SECRET not in inside.output
    assert (Path(target["outside"]) / "secret").read_text() == SECRET
    assert (Path(target["control"]) / "agents" / "a.md").read_text() == "tools: []\n"
    assert not (Path(target["control"]) / "agents" / "b.md").exists()
    for left in ("s", "hard", "big", "c", "t"):
        (area / left).unlink(missing_ok=True)
    code, output = freely(command, area)
    if "BREACH" not in output:
        assert name in HOST_MAY_REFUSE, f"the attack is no attack: {code} {output}"


ORDINARY = {
    "files": "mkdir -p a b && echo x > a/f && mv a/f b/f && ln -s b/f l && chmod +x l && cat l",
    "python": f"{PYTHON} -c 'import json, subprocess, tempfile as t; t.mkstemp(); print(1)'",
    "pipes": "seq 5 | sort -r | head -1 > /dev/null && echo ok >&2",
    "process substitution": "diff <(echo a) <(echo a) && echo ok > /dev/stderr",
    "here-document": "cat <<EOF\nhello\nEOF",
    "locale and time": "date +%Y && echo ü",
    "script written by another tool": "chmod +x made.sh && ./made.sh",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_commands_work(name: str, sandbox: Sandbox, area: Path) -> None:
    (area / "made.sh").write_text("#!/bin/sh\necho made >> made.sh.log\n")
    sandbox.prepare(area)
    done = sandbox.run(["/bin/bash", "-c", ORDINARY[name]], cwd=area, timeout_s=20)
    assert done.exit_code == 0, done.output


def _running(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


ESCAPES = {
    "background": "sleep 4321.{n} & exit 0",
    "setsid": "setsid sleep 4321.{n} > /dev/null 2>&1 & exit 0",
    "double fork": "(setsid bash -c 'sleep 4321.{n} & disown; exec sleep 4321.{n}' &) ; exit 0",
    "ignores signals": "trap '' TERM HUP INT; sleep 4321.{n} & exit 0",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_survives_the_call(name: str, sandbox: Sandbox, area: Path) -> None:
    marker = f"4321.{os.getpid()}{list(ESCAPES).index(name)}"
    command = ESCAPES[name].format(n=marker.partition(".")[2])
    sandbox.prepare(area)
    done = sandbox.run(["/bin/bash", "-c", command], cwd=area, timeout_s=10)
    assert done.exit_code == 0
    assert _running(marker) == []


def test_the_whole_tree_ends_at_the_timeout(sandbox: Sandbox, area: Path) -> None:
    marker = f"4322.{os.getpid()}"
    sandbox.prepare(area)
    started = time.monotonic()
    done = sandbox.run(
        ["/bin/bash", "-c", f"echo before; setsid sleep {marker} & sleep {marker}"],
        cwd=area,
        timeout_s=0.5,
    )
    assert done.timed_out
    assert done.output == "before\n"
    assert time.monotonic() - started < 8
    assert _running(marker) == []


def test_the_whole_tree_ends_when_cancelled(sandbox: Sandbox, area: Path) -> None:
    marker = f"4323.{os.getpid()}"
    sandbox.prepare(area)
    done = sandbox.run(
        ["/bin/bash", "-c", f"setsid sleep {marker} & sleep {marker}"],
        cwd=area,
        timeout_s=60,
        cancelled=lambda: bool(_running(marker)),
    )
    assert done.cancelled
    assert not done.timed_out
    assert _running(marker) == []


def test_the_whole_tree_ends_when_the_caller_fails(sandbox: Sandbox, area: Path) -> None:
    marker = f"4326.{os.getpid()}"

    def fails() -> bool:
        if _running(marker):
            raise ConnectionError("the store is gone")
        return False

    sandbox.prepare(area)
    with pytest.raises(ConnectionError):
        sandbox.run(
            ["/bin/bash", "-c", f"setsid sleep {marker} & sleep {marker}"],
            cwd=area,
            timeout_s=60,
            cancelled=fails,
        )
    assert _running(marker) == []


@pytest.mark.process
def test_the_whole_tree_ends_when_the_worker_dies(area: Path) -> None:
    marker = f"4324.{os.getpid()}"
    script = (
        "import sys; from pathlib import Path\n"
        "from llmos_workers.execution.sandbox.level1 import ConfinedSandbox\n"
        "s = ConfinedSandbox(); area = Path(sys.argv[1]); s.prepare(area)\n"
        f"s.run(['/bin/bash', '-c', 'setsid sleep {marker} & sleep {marker}'],"
        " cwd=area, timeout_s=600)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script, str(area)])
    wait_until(lambda: len(_running(marker)) >= 2, what="the command runs")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    # The launcher's command line holds no marker; only the command's processes are counted.
    wait_until(lambda: not _running(marker), what="the command's processes are gone")


def test_a_fork_bomb_is_bounded(sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    marker = f"4325.{os.getpid()}"
    done = sandbox.run(
        ["/bin/bash", "-c", f"for i in $(seq 400); do sleep {marker} & done; wait"],
        cwd=area,
        timeout_s=3,
        limits=Limits(processes=40),
    )
    assert done.killed_for == "processes" or "fork" in done.output
    assert _running(marker) == []


def test_memory_of_many_processes_together_is_bounded(sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    hog = f"{PYTHON} -c \"import time; x = bytearray(b'x') * (60 << 20); time.sleep(30)\""
    done = sandbox.run(
        ["/bin/bash", "-c", f"for i in 1 2 3 4; do {hog} & done; wait"],
        cwd=area,
        timeout_s=20,
        limits=Limits(memory=128 << 20),
    )
    assert done.killed_for == "memory"


def test_endless_output_is_capped_in_memory_and_ended(sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    done = sandbox.run(
        ["/bin/bash", "-c", "yes"], cwd=area, timeout_s=60, limits=Limits(output=1_000)
    )
    assert done.killed_for == "output"
    assert done.truncated
    assert len(done.output) <= 1_000


def test_calls_from_many_threads_do_not_disturb_each_other(sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    outputs: dict[int, str] = {}

    def call(number: int) -> None:
        done = sandbox.run(["/bin/bash", "-c", f"echo {number}"], cwd=area, timeout_s=60)
        outputs[number] = done.output

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: f"{number}\n" for number in range(8)}


def test_the_private_home_is_gone_afterwards(sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    done = sandbox.run(
        ["/bin/bash", "-c", "echo $HOME; mkdir -p $HOME/a/b; chmod 0 $HOME/a"],
        cwd=area,
        timeout_s=10,
    )
    home = Path(done.output.strip())
    assert home.name.startswith("llmos-run-")
    if os.geteuid() == 0:
        assert not home.exists()
