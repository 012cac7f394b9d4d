"""How far a goal is, as its record, journal, reservations and commits tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.kernel import codec, keys
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.ledger import read_open
from llmos_workers.kernel.redis import Client
from llmos_workers.kernel.stage import stage_name

UNANSWERED = "answered by the API, not journaled"
ABOUT_TO_ASK, ASKING = "about to ask the model", "asking the model"
PUBLISHING, PUBLISHED = "publishing", "published, not ended"
REPLAYING, BEGUN = "replaying", "run begun"

_AFTER = {
    "model": "answer journaled, its calls not run",
    "intent": "running a tool",
    "void": "waiting for a yes",
    "tool": "a tool's result journaled",
    "done": "a replay's steps handed over",
}

OF_A_RUN = (ABOUT_TO_ASK, ASKING, PUBLISHING, PUBLISHED, REPLAYING, BEGUN, *_AFTER.values())
"""Every step at which a run may be."""


@dataclass(frozen=True)
class At:
    """A goal at one moment."""

    goal_id: str
    fence: int
    step: str


class Steps:
    """Looks. ``state`` is a client of the state database."""

    def __init__(self, state: Client, goals: GoalStore) -> None:
        self._state, self.goals = state, goals
        self._commits = CommitLog(state)

    def running(self) -> list[GoalRecord]:
        """Goals that a run holds now."""
        ids = cast(list[bytes], self._state.zrange(keys.goals_in_state(GoalState.RUNNING), 0, -1))
        found = self.goals.get_many([each.decode() for each in ids])
        return [each for each in found if each is not None and each.lease_owner]

    def in_state(self, state: GoalState) -> list[str]:
        """Ids of goals in a state."""
        ids = cast(list[bytes], self._state.zrange(keys.goals_in_state(state), 0, -1))
        return [each.decode() for each in ids]

    def under_way(self) -> int:
        """How many goals have not ended."""
        states = [state for state in GoalState if not state.final]
        with self._state.pipeline(transaction=False) as pipe:
            for state in states:
                pipe.zcard(keys.goals_in_state(state))
            return sum(pipe.execute())

    def held_by(self, pids: Sequence[int]) -> list[GoalRecord]:
        """Goals whose lease one of these processes has."""
        return [record for record in self.running() if owner_pid(record) in pids]

    def look(self, records: Sequence[GoalRecord]) -> list[At]:
        """How far these goals are. Exact while their processes are stopped."""
        calls = {call.goal_id: call.state for call in read_open(self._state)}
        return [At(r.goal_id, r.fence, self._step(r, calls.get(r.goal_id, ""))) for r in records]

    def _step(self, record: GoalRecord, call: str) -> str:
        if record.state is not GoalState.RUNNING:
            return record.state.value.lower()
        commit_id = stage_name(record.goal_id, record.fence)
        if self._commits.state(record.project).pending == commit_id:
            return PUBLISHING
        if self._commits.get(record.project, commit_id) is not None:
            return PUBLISHED
        if call in ("reserved", "sent"):
            return ABOUT_TO_ASK if call == "reserved" else ASKING
        if record.decision is not None and not record.decision.mode.calls_model:
            return REPLAYING
        last = cast("bytes | None", self._state.lindex(keys.goal_journal(record.goal_id), -1))
        return _AFTER.get(codec.unpack(last)["kind"], "journaled") if last else BEGUN


def owner_pid(record: GoalRecord) -> int:
    """The process that holds the goal's lease; 0: none."""
    return int(record.lease_owner.split(":")[1]) if record.lease_owner else 0


def forget_taken(
    held: dict[str, GoalRecord], goals: GoalStore, commits: CommitLog, late: set[tuple[str, str]]
) -> None:
    """Drop those of the held goals that another run took over, or that ended. What their old run
    had not published by then it must never publish: its commit goes to ``late``.
    """
    for goal_id, before in list(held.items()):
        now = goals.get(goal_id)
        if now.fence > before.fence or now.state.final:
            commit_id = stage_name(goal_id, before.fence)
            if commits.get(before.project, commit_id) is None:
                late.add((before.project, commit_id))
            del held[goal_id]
