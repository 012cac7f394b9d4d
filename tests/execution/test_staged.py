"""Whatever a command does in its stage, what is published stays as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import redis

from llmos_workers.execution.sandbox.staged import StagedSandbox
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.snapshot import Snapshot
from llmos_workers.kernel.stages import Stages
from tests.kernel.stage_support import PROJECT, Bench, write

LARGE = "l" * 300_000

ATTACKS = {
    "overwrites": "echo evil > {f}",
    "appends": "echo evil >> {f}",
    "truncates": "truncate -s 0 {f}",
    "writes in the middle": "printf evil | dd of={f} conv=notrunc bs=1 seek=1 2>&1",
    "changes the mode": "chmod 777 {f}; echo evil > {f}",
    "changes the times": "touch -d 2001-01-01 {f}",
    "removes": "rm -f {f}",
    "renames and writes": "mv {f} g; echo evil > g",
    "links and writes": "ln {f} g; chmod 666 g; echo evil > g",
    "replaces": "sed -i s/./e/ {f}",
    "maps": "python3 -c \"import mmap; f=open('{f}','r+b'); m=mmap.mmap(f.fileno(),0); m[0]=69\"",
    "opens again": "exec 3<{f}; echo evil > /proc/self/fd/3",
    "goes around": "echo evil > ../../../../output/{f}; rm -f ../../../../output/{f}",
    "removes all": "rm -rf ./* .[a-z]*",
    "swaps a folder": "mkdir n; mv {f} n/; rm -rf n",
}


def picture(root: Path) -> dict[str, tuple[object, ...]]:
    """All that could be changed of files: content, mode, owner and times."""
    found = {}
    for path in sorted(root.rglob("*")):
        facts = path.stat()
        what = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (what, facts.st_mode, facts.st_uid, facts.st_mtime_ns, facts.st_ino)
    return found


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    bench = Bench(state, tmp_path / "w")
    write(bench.output, {"f.txt": "small", "d/l.bin": LARGE})
    return bench


def context(bench, sandbox, stage, stages=None) -> ToolContext:
    return ToolContext(
        project=PROJECT,
        area=stage.area,
        goal_id=stage.goal_id,
        sandbox=StagedSandbox(sandbox, stages or bench.stages, stage),
    )


def call(name, arguments, ctx):
    return ToolRegistry.builtin().get(name).run(arguments, ctx)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("file", ["f.txt", "d/l.bin"])
def test_no_command_changes_what_is_published(bench, sandbox, attack, file):
    """The large file stays linked here, when the worker is root: it is past the copy limit."""
    stages = Stages(bench.workspace, bench.publisher, copy_limit=100_000 + os.geteuid() * 10**9)
    before = picture(bench.output)
    _, stage = bench.run()
    ctx = context(bench, sandbox, stage, stages)
    call("Bash", {"command": ATTACKS[attack].format(f=file)}, ctx)
    assert picture(bench.output) == before


def test_commands_may_write_into_files_and_it_is_published(bench, sandbox):
    lease, stage = bench.run()
    ctx = context(bench, sandbox, stage)
    done = call("Bash", {"command": "echo more >> f.txt && echo new > n.txt && cat f.txt"}, ctx)
    assert done.ok, done
    assert {w.path for w in done.writes} == {"f.txt", "n.txt"}
    call("Edit", {"path": "f.txt", "old": "more", "new": "most"}, ctx)
    assert call("Bash", {"command": "cat f.txt"}, ctx).output == "smallmost\n"
    bench.publisher.publish(stage, lease=lease)
    assert (bench.output / "f.txt").read_text() == "smallmost\n"
    assert (bench.output / "n.txt").read_text() == "new\n"
    owner = bench.output.stat().st_uid
    assert {path.stat().st_uid for path in bench.output.rglob("*")} == {owner}


def test_a_large_linked_file_can_be_read_replaced_and_removed(bench, sandbox):
    if os.geteuid() != 0:
        pytest.skip("commands run as the worker's own user")
    stages = Stages(bench.workspace, bench.publisher, copy_limit=1_000)
    lease, stage = bench.run()
    ctx = context(bench, sandbox, stage, stages)
    assert call("Bash", {"command": "wc -c < d/l.bin"}, ctx).output.strip() == str(len(LARGE))
    assert not call("Bash", {"command": "echo x >> d/l.bin"}, ctx).ok
    assert call("Bash", {"command": "tail -c 3 d/l.bin > t && mv t d/l.bin"}, ctx).ok
    bench.publisher.publish(stage, lease=lease)
    assert (bench.output / "d/l.bin").read_text() == "lll"


def test_a_linked_file_is_not_taken_for_written_when_another_run_links_it_too(bench, sandbox):
    if os.geteuid() != 0:
        pytest.skip("commands run as the worker's own user")
    stages = Stages(bench.workspace, bench.publisher, copy_limit=1_000)
    _, stage = bench.run()
    ctx = context(bench, sandbox, stage, stages)
    call("Bash", {"command": "true"}, ctx)
    before = Snapshot(stage.area)
    bench.run()
    assert Snapshot(stage.area).changes_since(before) == ()
    call("Bash", {"command": "echo x > n.txt; rm d/l.bin"}, ctx)
    written = Snapshot(stage.area).changes_since(before)
    assert {file.path for file in written} == {"d/l.bin", "n.txt"}


def test_the_published_files_of_one_run_are_safe_from_the_commands_of_the_next(bench, sandbox):
    """Their owner is never the user that the commands run as."""
    lease, stage = bench.run()
    call("Bash", {"command": "echo one > big.txt"}, context(bench, sandbox, stage))
    bench.publisher.publish(stage, lease=lease)
    stage.discard()
    before = picture(bench.output)
    stages = Stages(bench.workspace, bench.publisher, copy_limit=0 if not os.geteuid() else 10**9)
    _, stage = bench.run()
    call(
        "Bash",
        {"command": "chmod 777 *; echo evil > big.txt"},
        context(bench, sandbox, stage, stages),
    )
    assert picture(bench.output) == before


def test_removing_the_isolation_would_show(bench, sandbox):
    """The guard is what protects: without it the attack succeeds."""
    _, stage = bench.run()
    stage.isolated = True
    os.chown(stage.area, bench.output.stat().st_uid, -1)
    sandboxed = context(bench, sandbox, stage).sandbox
    sandboxed.run(["/bin/sh", "-c", "echo evil > f.txt"], cwd=stage.area, timeout_s=10)
    assert (bench.output / "f.txt").read_text() == "evil\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_worker_that_is_not_root_protects_what_is_published(state, redis_server):
    """Commands then are the same user, and could write and chmod whatever they have a name of."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(folder, 65_534, 65_534)
    read, written = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(65_534)
            os.setuid(65_534)
            os.write(
                written, attack_all(redis.Redis.from_url(f"{redis_server}/2"), folder).encode()
            )
        finally:
            os._exit(0)
    os.close(written)
    os.waitpid(pid, 0)
    with os.fdopen(read) as told:
        assert told.read() == "unharmed"
    shutil.rmtree(folder)


def attack_all(client, folder: Path) -> str:
    """All attacks from inside the area, as our own user and without any other sandbox."""
    bench = Bench(client, folder / "w")
    write(bench.output, {"f.txt": "small", "d/l.bin": LARGE})
    before = picture(bench.output)
    for name, attack in ATTACKS.items():
        if name == "goes around":
            continue  # that is the other sandbox's part
        for file in ("f.txt", "d/l.bin"):
            _, stage = bench.run()
            bench.stages.isolate(stage)
            subprocess.run(
                ["/bin/sh", "-c", attack.format(f=file)], cwd=stage.area, check=False,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if picture(bench.output) != before:
                return f"{name} {file}"
            stage.changes()
            stage.discard()
    return "unharmed" if not bench.debris() else "debris"
