"""Scratch copies of a project: to try things in. Nothing of them is ever published.

They lie beside the stages and are filled like one, with second names for the files of a project
or of another scratch copy. No other process goes on with one, so nothing about it is written
down; what a killed worker leaves is swept with the unfinished stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.commits import FileState
from llmos_workers.contracts.errors import ToolError
from llmos_workers.kernel import tree
from llmos_workers.kernel.stage import Stage, stage_name


@dataclass
class Scratch(Stage):
    """A stage that is never published. ``label`` tells those of one run apart."""

    label: str = "scratch"

    @property
    def root(self) -> Path:
        """The copy's folder."""
        name = stage_name(self.goal_id, self.fence)
        return self.project.state / "stages" / f"{name}.{self.label}"

    def save(self) -> None:
        """Nothing: no other process goes on with it."""


def effects(stage: Stage, before: Stage) -> dict[str, FileState | None]:
    """What was done in a stage to a project as ``before`` holds it: each path that is another
    now, with what stands there (None: nothing).

    Raises ToolError for what no project can hold.
    """
    found: dict[str, FileState | None] = {}
    try:
        for change in stage.changes():
            now = tree.state_at(stage.area, change.path)
            if now != tree.state_at(before.area, change.path):
                found[change.path] = now
    except OSError as error:
        raise ToolError(f"the stage cannot be read: {error.strerror}.") from None
    return found
