"""The workspace: nothing leads out of a folder, and files change in one step."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import (
    FileMissing,
    InvalidOption,
    ToolError,
    WorkspaceUnwritable,
)
from llmos_workers.kernel import paths
from llmos_workers.kernel.projects import ProjectManager
from llmos_workers.kernel.workspace import Workspace, digest_file, read_inside, resolve_inside


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    return folder


def test_a_project_has_its_four_folders(tmp_path: Path) -> None:
    folder = Workspace(tmp_path / "w").ensure().project("demo")
    assert sorted(p.name for p in folder.root.iterdir()) == [
        "components",
        "memory",
        "output",
        "state",
    ]
    assert [p.name for p in ProjectManager(Workspace(tmp_path / "w")).list_projects()] == ["demo"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "A", "x" * 65, "a\0", "-a"])
def test_project_names_with_path_tricks_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidOption):
        Workspace(tmp_path).project(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../secret", "", "a\0b", "..", "out", "dir/secret"]
)
def test_no_path_leads_out_for_reading_or_writing(base: Path, path: str) -> None:
    (base / "out").symlink_to("../secret")
    (base / "dir").symlink_to("..")
    (base / "a").mkdir()
    with pytest.raises(ToolError):
        read_inside(base, path)
    with pytest.raises(ToolError):
        paths.write_inside(base, path, b"overwritten")
    with pytest.raises(ToolError):
        resolve_inside(base, path)
    assert (base.parent / "secret").read_text() == "secret"


def test_absolute_symlinks_and_loops_are_refused(base: Path) -> None:
    (base / "abs").symlink_to(base.parent / "secret")
    (base / "loop").symlink_to("loop")
    for path in ("abs", "loop"):
        with pytest.raises(ToolError):
            read_inside(base, path)


def test_symlinks_that_stay_inside_are_followed(base: Path) -> None:
    (base / "real").mkdir()
    (base / "real" / "f").write_text("x")
    (base / "link").symlink_to("real")
    (base / "real" / "up").symlink_to("../real/f")
    assert read_inside(base, "link/f") == b"x"
    assert paths.write_inside(base, "link/up", b"y") == "real/f"
    assert (base / "real" / "f").read_bytes() == b"y"
    assert (base / "real" / "up").is_symlink()


SWAPS = 50_000
SWAP = f"""
import ctypes, os, sys
libc, names = ctypes.CDLL(None), [os.fsencode(name) for name in sys.argv[1:]]
while True:
    for _ in range({SWAPS}):
        # RENAME_EXCHANGE: at each moment the name is the real thing or the symlink.
        if libc.renameat2(-100, names[0], -100, names[1], 2):
            sys.exit(1)
    open(names[2], "w").close()
"""


@pytest.mark.parametrize("what", ["folder", "file"])
def test_swapping_a_symlink_in_between_check_and_use_never_escapes(base: Path, what: str) -> None:
    outside = base.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("secret")
    (base / "d").mkdir()
    (base / "d" / "f").write_text("inside")
    where, target = ("d", "../outside") if what == "folder" else ("d/f", "../../outside/f")
    evil = base / "d" / "evil" if what == "file" else base / "evil"
    evil.symlink_to(target)
    escapes = naive = tries = 0
    swapped = base.parent / "swapped"  # there once SWAPS are done
    command = [sys.executable, "-S", "-c", SWAP, str(base / where), str(evil), str(swapped)]
    with subprocess.Popen(command) as swapping:
        until = time.monotonic() + 60
        while not (swapped.exists() and naive and tries >= 200) and time.monotonic() < until:
            tries += 1
            with suppress(OSError):  # what checks, then uses: the attack works on it
                inside = (base / "d" / "f").resolve().is_relative_to(base.resolve())
                naive += inside and (base / "d" / "f").read_bytes() == b"secret"
            with suppress(ToolError):
                escapes += read_inside(base, "d/f") == b"secret"
            if what == "folder":  # a written file would take the link's place, and end the race
                with suppress(ToolError):
                    paths.write_inside(base, "d/f", b"inside")
            escapes += (outside / "f").read_text() != "secret"
        assert swapping.poll() is None
        swapping.kill()
    assert swapped.exists()
    assert naive
    assert escapes == 0
    assert sorted(p.name for p in outside.iterdir()) == ["f"]


def test_a_fifo_does_not_block_and_is_refused(base: Path) -> None:
    os.mkfifo(base / "pipe")
    with pytest.raises(ToolError, match="regular"):
        read_inside(base, "pipe")


def test_writing_keeps_the_mode_and_leaves_no_temporary_file(base: Path) -> None:
    script = base / "run.sh"
    script.write_text("old")
    script.chmod(0o750)
    paths.write_inside(base, "run.sh", b"new")
    assert script.stat().st_mode & 0o777 == 0o750
    assert [p.name for p in base.iterdir()] == ["run.sh"]


def test_readers_see_the_old_or_the_new_content_never_a_part(base: Path) -> None:
    contents = [bytes([n]) * 200_000 for n in (65, 66)]
    paths.write_inside(base, "f", contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                paths.write_inside(base, "f", content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(read_inside(base, "f") in contents for _ in range(100))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_or_read_only_disk_is_named_and_the_old_file_stays(
    base: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    paths.write_inside(base, "f", b"old")

    def fail(fd: int, data: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(WorkspaceUnwritable, match="f cannot be written"):
            Workspace(base).write_atomic("f", b"new")
    assert (base / "f").read_bytes() == b"old"
    assert [p.name for p in base.iterdir()] == ["f"]


def test_a_really_full_disk_is_named(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(WorkspaceUnwritable, match="No space left"):
            Workspace(small).write_atomic("f", b"x" * 200_000)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_digests_tell_missing_files_from_present_ones(base: Path) -> None:
    (base / "f").write_text("x")
    assert digest_file(base, "./f").path == "f"
    assert digest_file(base, "f").size == 1
    assert digest_file(base, "no/such").digest is None
    assert digest_file(base, "f/below").digest is None
    with pytest.raises(FileMissing):
        read_inside(base, "none")
    with pytest.raises(ToolError):
        digest_file(base, "../secret")


def test_the_workspace_refuses_paths_elsewhere(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w").ensure()
    assert workspace.write_atomic(workspace.traces / "t.md", b"x").read_bytes() == b"x"
    with pytest.raises(ToolError):
        workspace.write_atomic(tmp_path / "other", b"x")
