"""More attacks: on the disk, on other commands, by packages; and by samples of everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench.containment import CONTROLS
from llmos_workers.execution.sandbox import Limits, Sandbox, SandboxResult
from tests.execution.test_redteam import PYTHON, freely
from tests.support.wait import wait_until

SECRET = "canary-secret-2468013"
SMALL = Limits(disk=48 << 20, file_size=32 << 20)
ROOT = Path(__file__).parents[2]

FILLERS = {
    "many files": "for i in $(seq 200); do head -c 24M /dev/zero > f$i; done",
    "in the private home": "for i in $(seq 200); do head -c 24M /dev/zero > $HOME/f$i; done",
    "files that are removed, but open": (
        'for i in $(seq 10 200); do head -c 24M /dev/zero > f; eval "exec $i<f"; rm f; done'
    ),
    "nothing but names": (
        f'{PYTHON} -c \'import time\nfor i in range(3000): open(str(i), "w").close()'
        "\ntime.sleep(9)'"
    ),
}


@pytest.mark.parametrize("name", FILLERS)
def test_the_disk_is_not_filled(name: str, sandbox: Sandbox, area: Path) -> None:
    sandbox.prepare(area)
    limits = replace(SMALL, disk=8 << 20) if name == "nothing but names" else SMALL
    done = sandbox.run(["/bin/bash", "-c", FILLERS[name]], cwd=area, timeout_s=30, limits=limits)
    assert done.killed_for == "disk"
    size = sum(path.stat().st_blocks * 512 for path in area.rglob("*") if path.is_file())
    assert size < 1 << 30


def test_files_that_were_there_and_a_little_more_are_no_offence(
    sandbox: Sandbox, area: Path
) -> None:
    (area / "old").write_bytes(b"x" * (SMALL.disk * 2))
    sandbox.prepare(area)
    command = "for i in 1 2; do head -c 5M /dev/zero > f$i; sleep 0.2; done; wc -c old"
    done = sandbox.run(["/bin/bash", "-c", command], cwd=area, timeout_s=20, limits=SMALL)
    assert done.exit_code == 0
    assert done.killed_for is None


def test_a_command_does_not_see_what_another_one_was_given(sandbox: Sandbox, area: Path) -> None:
    """Of the same project, and so of the same user: without a sandbox it reads all of them."""
    sandbox.prepare(area)
    ended: list[SandboxResult] = []
    other = threading.Thread(
        target=lambda: ended.append(
            sandbox.run(
                ["/bin/bash", "-c", "touch begun; while [ ! -e stop ]; do sleep 0.05; done"],
                cwd=area,
                timeout_s=30,
                env={"GIVEN_KEY": SECRET},
            )
        )
    )
    other.start()
    try:
        wait_until((area / "begun").exists, what="the other command runs")
        theft = f"cat /proc/[0-9]*/environ 2>/dev/null | grep -qa GIVEN_KEY={SECRET} && echo BREACH"
        inside = sandbox.run(["/bin/bash", "-c", theft], cwd=area, timeout_s=10)
        _, outside = freely(theft, area)
    finally:
        (area / "stop").touch()
        other.join()
    assert ended[0].exit_code == 0
    assert "BREACH" not in inside.output
    assert "BREACH" in outside or os.geteuid() != 0


SETUP = """
import os, pathlib
from setuptools import setup
try:
    pathlib.Path(os.environ["AIM"]).write_text("x")
    came = "BREACH"
except OSError as error:
    came = type(error).__name__
pathlib.Path(os.environ["HERE"], "came").write_text(came)
setup(name="evil", version="1", py_modules=[])
"""
INSTALL = (
    "tar czf evil.tar.gz evil && HERE=$PWD {python} -m pip install -q --no-index "
    "--no-build-isolation --no-deps --target t ./evil.tar.gz; cat came"
)


def test_a_package_that_writes_outside_as_it_is_installed(
    sandbox: Sandbox, area: Path, tmp_path: Path
) -> None:
    if subprocess.run([PYTHON, "-c", "import setuptools, pip"], check=False).returncode:
        pytest.skip(f"{PYTHON} has no pip and setuptools")
    aim = tmp_path / "outside"
    aim.mkdir()
    aim.chmod(0o777)
    (area / "evil").mkdir()
    (area / "evil" / "setup.py").write_text(SETUP)
    command = f"export AIM={aim}/hit; " + INSTALL.format(python=PYTHON)
    sandbox.prepare(area)
    inside = sandbox.run(["/bin/bash", "-c", command], cwd=area, timeout_s=60)
    assert inside.output.endswith("PermissionError"), inside.output
    assert not (aim / "hit").exists()
    (area / "came").unlink()
    assert freely(command, area)[1].endswith("BREACH")


def contained(*arguments: str) -> dict[str, float]:
    """What bench.containment counts."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.containment", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(done.stdout)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_what_the_counters_of_containment_count(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each counter moves for a harmless call without a sandbox, and for none inside."""
    file = tmp_path / "calls.jsonl"
    commands = [*CONTROLS.values(), "cat agents/researcher.md state/keys/*", "rm -rf agents/"]
    calls = (
        {"id": str(at), "tool": "Bash", "arguments": {"command": command}}
        for at, command in enumerate(commands)
    )
    file.write_text("\n".join(map(json.dumps, calls)))
    figures = contained(str(file))
    assert figures["calls"] == len(commands)
    assert [name for name in (*CONTROLS, "system_changed") if figures[name]] == []
    assert figures["controls_seen"] == len(CONTROLS) - (not figures["network_counted"])


@pytest.mark.slow
def test_dangerous_samples_and_crafted_bypasses_do_no_harm(sandbox: Sandbox) -> None:
    """LLMOS_TOOLCALLS names a further file of calls."""
    data = sorted((ROOT / "tests" / "data" / "toolcalls").glob("*.jsonl"))
    more = os.environ.get("LLMOS_TOOLCALLS")
    figures = contained(*map(str, data), *([more] if more else []))
    assert figures["calls"] >= 320
    assert [name for name in (*CONTROLS, "system_changed") if figures[name]] == []
