"""A plan's board: one stage of the parent, in which the members of its plan work.

``<place>/state/boards/<goal>/``

    output/      for the members what a project's output folder is: their stages are made from it,
                 their commits change it, each under its own fence; conflicts between members are
                 conflicts between commits
    state/       the members' stages, drafts and replaced contents
    stage.json   what stood in the project when the board was made

The whole is published by the parent in one commit, under its own fence: a plan that fails or is
cancelled leaves nothing, and undoing the parent undoes it all. Unlike a run's stage a board
outlives the runs of its goal; only commits write into it, so it needs no fence of its own.

A *place* is where a goal's files are: a project's name, or ``<place>@<goal>`` for a board.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.commits import Commit, CommitFacts
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.stage import Stage, load_stage
from llmos_workers.kernel.stages import UNFINISHED_KEPT_S, Stages
from llmos_workers.kernel.workspace import (
    BOARDS,
    ProjectFolder,
    Workspace,
    board_name,
)

__all__ = ["Board", "Boards"]


@dataclass
class Board(Stage):
    """The stage that members share. ``fence`` is that of the run that publishes it."""

    @property
    def root(self) -> Path:
        """The board's folder."""
        return self.project.state / BOARDS / board_name(self.goal_id)

    @property
    def area(self) -> Path:
        """The members' output folder."""
        return self.root / "output"

    @property
    def place(self) -> str:
        """The board's name as a place."""
        return f"{self.project.name}@{board_name(self.goal_id)}"


class _Draft(Board):
    """A board that is being made: it gets its name when it is whole."""

    @property
    def root(self) -> Path:
        return self.project.state / BOARDS / f"{board_name(self.goal_id)}.{self.fence}"


class Boards:
    """The boards of all plans."""

    def __init__(self, workspace: Workspace, stages: Stages, publisher: Publisher) -> None:
        self._workspace, self._stages, self._publisher = workspace, stages, publisher

    def open(self, place: str, lease: Lease) -> Board:
        """The board of the lease's goal, made from ``place`` as it is now when there is none.

        Raises WorkspaceUnwritable, ToolError, SandboxUnavailable (as a stage).
        """
        folder = self._workspace.project(place)
        if (known := self._known(folder, lease.goal_id)) is not None:
            return known
        draft = _Draft(folder, lease.goal_id, lease.fence, 0, {})
        try:
            tree.remove_tree(draft.root)
            self._stages.fill(draft)
            draft.save()
            board = Board(folder, lease.goal_id, 0, draft.start, draft.base)
            self._publisher.log.carry(board.place, draft.tainted)
            with suppress(OSError):  # another run of the goal was first
                draft.root.rename(board.root)
            tree.remove_tree(draft.root)
        except (OSError, LLMOSError) as error:
            tree.remove_tree(draft.root)
            if isinstance(error, OSError):
                raise paths.refuse(str(draft.root), error, writing=True) from None
            raise
        found = self._known(folder, lease.goal_id)
        if found is None:
            raise paths.refuse(str(board.root), OSError("it cannot be read"), writing=True)
        self._workspace.project(found.place)
        return found

    def publish(
        self, board: Board, lease: Lease, facts: CommitFacts, reads: tuple[FileDigest, ...]
    ) -> Commit | None:
        """Publish all that the members made, in one commit under the parent's fence; None when it
        is published already, or nothing changed. ``reads``: files of the project that the members
        depended on. Raises as Publisher.publish.
        """
        if self._publisher.log.of_goal(board.project.name, board.goal_id):
            self._publisher.recover(board.project.name)
            self.discard(board)
            return None
        self._publisher.settled(board.place)
        board.fence = lease.fence
        # What is tainted on the board is so in the project: the members' commits said which.
        board.tainted = self._publisher.log.tainted(board.place)
        facts = facts.model_copy(update={"commands": True})
        commit = self._publisher.publish(board, lease=lease, facts=facts, reads=reads)
        self._publisher.log.forget(board.place)
        return commit

    def discard(self, board: Board) -> None:
        """Remove the board with all in it."""
        board.discard()
        self._publisher.log.forget(board.place)

    def drop(self, place: str, goal_id: str) -> None:
        """Discard the board of a goal, if there is one."""
        board = self._known(self._workspace.peek(place), goal_id)
        if board is not None:
            self.discard(board)

    def sweep(self, folder: ProjectFolder, ended: Callable[[str], bool]) -> int:
        """Remove the boards of goals that have ``ended`` and what was never finished; how many.
        For upkeep.
        """
        removed, now = 0, time.time()
        with suppress(FileNotFoundError):
            for root in sorted((folder.state / BOARDS).iterdir()):
                stage = load_stage(folder, root)
                if stage is None and now - root.stat().st_mtime > UNFINISHED_KEPT_S:
                    tree.remove_tree(root)
                    removed += 1
                elif stage is not None and ended(stage.goal_id):
                    self.discard(Board(**vars(stage)))
                    removed += 1
        return removed

    def _known(self, folder: ProjectFolder, goal_id: str) -> Board | None:
        root = folder.state / BOARDS / board_name(goal_id)
        stage = load_stage(folder, root)
        if stage is None:
            return None
        return Board(**vars(stage))
