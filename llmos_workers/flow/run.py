"""One run of a goal: what it works on, and what may end it from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import Cancelled, DeadlineExceeded, WorkerStopping
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import Mode
from llmos_workers.execution.journal import RunJournal
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import LeaseKeeper
from llmos_workers.kernel.stage import Stage

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime

CANCEL_POLL_SECS = 0.25
"""How old the answer to "was it cancelled?" may be: a round trip per stream event is waste."""


@dataclass
class RunGuards:
    """The three questions every step asks first."""

    record: GoalRecord
    goals: GoalStore
    clock: Clock
    keeper: LeaseKeeper
    draining: Callable[[], bool] = lambda: False
    """Whether the worker was told to stop."""
    _asked_at: float = field(init=False)
    _cancelled: bool = field(init=False)

    def __post_init__(self) -> None:
        """The record has just been read: its answer is as good as one asked for now."""
        self._asked_at, self._cancelled = self.clock.steady(), self.record.cancel_requested

    def cancelled(self) -> bool:
        """Whether someone asked to cancel, or another run took the goal over."""
        if self._cancelled or self.keeper.lost:
            return True
        now = self.clock.steady()
        if now - self._asked_at >= CANCEL_POLL_SECS:
            self._asked_at = now
            self._cancelled = self.goals.cancel_requested(self.record.goal_id)
        return self._cancelled

    def check(self) -> None:
        """Raise LeaseLost, Cancelled or DeadlineExceeded when one of them holds."""
        self.keeper.check()
        if self.cancelled():
            raise Cancelled("the goal was cancelled.")
        if late := overdue(self.record, self.clock.now()):
            raise late

    def before_step(self) -> None:
        """``check``, and raise WorkerStopping when the rest is another worker's business."""
        self.check()
        if self.draining():
            raise WorkerStopping("the worker was told to stop; the goal goes on in another one.")


@dataclass(frozen=True)
class Run:
    """What replay, think and learn share about the run they are part of."""

    runtime: Runtime
    record: GoalRecord
    decision: ModeDecision
    guards: RunGuards
    stage: Stage
    """Where the run works; see docs/stages.md."""

    def afresh(self) -> Run:
        """The same run on a new stage of the project as it is now."""
        self.stage.discard()
        fence = self.guards.keeper.lease.fence
        stage = self.runtime.stages.open(self.place, self.record.goal_id, fence)
        return replace(self, stage=stage)

    @property
    def project(self) -> str:
        """The goal's project."""
        return self.record.project

    @property
    def place(self) -> str:
        """Where its files are: the project, or its parent's board."""
        return self.record.place


def open_stage(runtime: Runtime, record: GoalRecord, fence: int) -> Stage:
    """Where a run works. The parent of a plan works on its board: no stage is made for it."""
    if record.decision is not None and record.decision.mode is Mode.ORCHESTRATOR:
        return Stage(runtime.workspace.project(record.place), record.goal_id, fence, 0, {})
    return runtime.stages.open(record.place, record.goal_id, fence)


def overdue(record: GoalRecord, now: float) -> DeadlineExceeded | None:
    """What ends a goal whose deadline has passed at ``now`` (Unix s); None: it has time."""
    deadline = record.options.deadline
    if deadline is None or now < deadline:
        return None
    return DeadlineExceeded("the goal's deadline has passed.")


def hurried(runtime: Runtime, record: GoalRecord) -> GoalRecord:
    """The record, without its deadline where that has passed and the goal's work is published: what
    is left is to say so.
    """
    if overdue(record, runtime.clock.now()) is None:
        return record
    if not runtime.publisher.log.of_goal(record.place, record.goal_id):
        return record
    options = record.options.model_copy(update={"deadline": None})
    return record.model_copy(update={"options": options})


def plan_over(runtime: Runtime, record: GoalRecord) -> Cancelled | None:
    """What ends a part of a plan that has ended: its files would be nobody's. None: go on."""
    member = record.options.member
    if member is None:
        return None
    (parent,) = runtime.goals.get_many([member.parent_id])
    if parent is not None and not parent.state.final:
        return None
    return Cancelled(f"the plan of goal {member.parent_id}, which it was a part of, has ended.")


def journal_of(run: Run) -> RunJournal:
    """What earlier runs of the goal left; this run's entries are written under its lease."""
    goals, keeper, goal_id = run.runtime.goals, run.guards.keeper, run.record.goal_id
    entries = goals.journal(goal_id)
    commits = run.runtime.publisher.log
    return RunJournal(
        entries,
        lambda entry: goals.append_journal(keeper.lease, entry),
        effects_gone=bool(entries)
        and run.stage.resumed_from is None
        and not commits.of_goal(run.place, goal_id),
    )
