"""What the tests of stages and commits share."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE

from llmos_workers.kernel import paths
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.isolate import isolate
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.stages import Stages
from llmos_workers.kernel.undo import Undoer
from llmos_workers.kernel.workspace import Workspace
from tests.kernel.goal_support import a_goal

PROJECT = "p"


class Bench:
    """A workspace with all that publishes in it."""

    def __init__(self, redis, root: Path, **publishing) -> None:
        self.workspace = Workspace(root).ensure()
        self.folder = self.workspace.project(PROJECT)
        self.output = self.folder.output
        self.clock = SystemClock()
        self.goals = GoalStore(redis, self.clock)
        self.log = CommitLog(redis)
        self.publisher = Publisher(self.workspace, self.log, self.clock, **publishing)
        self.stages = Stages(self.workspace, self.publisher)
        self.undoer = Undoer(self.workspace, self.publisher, self.clock)

    def run(self, text="do it", *, ttl_s=30.0):
        """A goal with a run that holds its lease, and the run's stage."""
        goal = self.goals.create(a_goal(text, project=PROJECT))[0]
        lease, _ = self.goals.acquire(goal.goal_id, owner="w", ttl_s=ttl_s)
        return lease, self.stages.open(PROJECT, goal.goal_id, lease.fence)

    def goal_that_writes(self, files: dict[str, str], *, remove=()):
        """A goal that published these files; its commit."""
        lease, stage = self.run()
        write(stage.area, files)
        for path in remove:
            (stage.area / path).unlink()
        commit = self.publisher.publish(stage, lease=lease)
        stage.discard()
        return commit

    def undo(self, goal_id):
        return self.undoer.undo(PROJECT, goal_id, approver="me")

    def debris(self) -> list[str]:
        """Stages and drafts that are still there."""
        return [
            str(path.relative_to(self.folder.state))
            for name in ("stages", "commits")
            if (self.folder.state / name).is_dir()
            for path in (self.folder.state / name).iterdir()
        ]


def write(area: Path, files: dict[str, str]) -> None:
    """As the Write tool does it."""
    for path, text in files.items():
        paths.write_inside(area, path, text.encode())


def listing(root: Path) -> dict[str, object]:
    """All that stands in a folder: content and mode of files, targets of links, folders."""
    found: dict[str, object] = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder) / name
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = ("link", str(path.readlink()))
            elif path.is_dir():
                found[key] = "folder"
            else:
                found[key] = (path.read_bytes(), S_IMODE(path.stat().st_mode))
    return found


def command_writes(stage, path: str, text: str) -> None:
    """As a command does it: into the file, after the area was made safe for that."""
    isolate(stage)
    place = stage.area / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        file.write(text)
