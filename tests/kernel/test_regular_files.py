"""Reading and digesting take regular files only, and say so in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import ToolError
from llmos_workers.kernel.workspace import digest_file, read_inside


@pytest.mark.parametrize("read", [read_inside, digest_file])
def test_folders_and_pipes_are_refused_and_leave_nothing_open(tmp_path: Path, read) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("folder", "pipe"):
        with pytest.raises(ToolError, match="not a regular file"):
            read(tmp_path, name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
