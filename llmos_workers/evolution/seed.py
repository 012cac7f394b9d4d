"""What a new workspace gets: the agents that ship with llmos, and git's ignore rules."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmos_workers.kernel.workspace import Workspace, make_folder
from llmos_workers.kernel.workspace_git import write_ignore

PACKAGE = Path(__file__).resolve().parents[1]


def seed_folder() -> Path:
    """Where the shipped agents lie: in the wheel, or in the source tree's own workspace."""
    shipped = PACKAGE / "seed" / "agents"
    return shipped if shipped.is_dir() else PACKAGE.parent / "workspace" / "agents"


def install_seed_agents(workspace: Workspace | Path | str) -> list[str]:
    """Copy the shipped agents if the workspace has no agent file at all; returns their names.

    Also writes the ignore rules for git where there are none. Nothing is overwritten, and an agent
    that somebody deleted does not come back.
    Raises WorkspaceUnwritable, or ToolError when something else stands in the folder's place.
    """
    target = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
    make_folder(target.agents)
    installed = []
    with folder_lock(target.agents):
        write_ignore(target)
        if any(target.agents.glob("*.md")):
            return []
        for source in sorted(seed_folder().glob("*.md")):
            target.write_atomic(target.agents / source.name, source.read_bytes())
            installed.append(source.stem)
    return installed


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One process at a time, so that a worker that starts beside another finds all agents.

    A file system without locks (some network ones) goes unlocked: the files are the same.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
