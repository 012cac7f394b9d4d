"""What is left when a chaos run is over: read once, judged by ``checks``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos_parts.bell import read_rings
from bench.chaos_parts.population import Planned
from llmos_workers.client import LLMOS
from llmos_workers.contracts.commits import Commit
from llmos_workers.contracts.events import GoalEvent
from llmos_workers.contracts.goal import GoalState
from llmos_workers.execution.llm_contracts import ModelResponse, read_journal_entry
from llmos_workers.kernel import keys
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.ledger import LedgerEntry, Reservation
from llmos_workers.kernel.redis import Client
from llmos_workers.rehearsal.log import ServedRequest

MOST_EVENTS = 5_000


@dataclass(frozen=True)
class GoalEvidence:
    """One goal: what was planned and what its record, events and journal say."""

    planned: Planned
    goal_id: str
    state: str = ""
    """Empty: there is no record."""
    status: str = ""
    """Of its outcome; empty: there is none."""
    error: str = ""
    """Kind and message of the outcome's error."""
    states: tuple[tuple[float, str], ...] = ()
    """(time, state) of every state event."""
    responses: tuple[tuple[int, ModelResponse], ...] = ()
    """Turn and journaled response, in order."""
    has_result: bool = True
    """Whether Celery has a result for it."""


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    goals: Sequence[GoalEvidence]
    known: frozenset[str] = frozenset()
    """Ids of all goals there are."""
    served: Sequence[ServedRequest] = ()
    ledger: Sequence[LedgerEntry] = ()
    reservations: Sequence[Reservation] = ()
    over_limit_micro: int = 0
    """Largest excess over a limit that was seen at any moment."""
    audit_faults: Sequence[str] = ()
    commits: Sequence[Commit] = ()
    forbidden: frozenset[tuple[str, str]] = frozenset()
    """(project, commit id) that must not be there."""
    rings: Sequence[tuple[str, str]] = ()
    """(goal id, bell), once for each time that it rang."""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Project -> path -> content."""
    orphans: Sequence[str] = ()


def gather(
    llmos: LLMOS,
    results: Client,
    goals: Mapping[str, Planned],
    *,
    served: Sequence[ServedRequest],
    over_limit_micro: int,
    forbidden: frozenset[tuple[str, str]],
    bell_file: Path,
    orphans: Sequence[str],
) -> Evidence:
    """Read everything. ``goals``: id -> plan; ``results``: a client of Celery's results."""
    economy = llmos.token_economy
    projects = sorted({goal.project for goal in goals.values()})
    log = CommitLog(llmos.redis)
    return Evidence(
        goals=[_goal(llmos, results, goal_id, planned) for goal_id, planned in goals.items()],
        known=frozenset(
            each.decode() if isinstance(each, bytes) else str(each)
            for each in llmos.redis.zrange(keys.GOALS_ALL, 0, -1)
        ),
        served=served,
        ledger=list(economy.entries()),
        reservations=economy.reservations(),
        over_limit_micro=over_limit_micro,
        audit_faults=[str(fault) for fault in audit(llmos.redis).faults],
        commits=[commit for project in projects for commit in log.newest(project)],
        forbidden=forbidden,
        rings=read_rings(bell_file),
        files={name: read_files(output_of(llmos.config.workspace, name)) for name in projects},
        orphans=orphans,
    )


def _goal(llmos: LLMOS, results: Client, goal_id: str, planned: Planned) -> GoalEvidence:
    record = llmos.goals.get_many([goal_id])[0]
    if record is None:
        return GoalEvidence(planned, goal_id)
    outcome = record.outcome
    error = outcome.error if outcome is not None else None
    journal = [read_journal_entry(entry) for entry in llmos.goals.journal(goal_id)]
    return GoalEvidence(
        planned=planned,
        goal_id=goal_id,
        state=record.state.value,
        status=outcome.status if outcome is not None else "",
        error=f"{error.kind}: {error.message}" if error is not None else "",
        states=tuple((e.at, str(e.data["state"])) for e in events_of(llmos, goal_id)),
        responses=tuple(entry for entry in journal if entry is not None),
        has_result=bool(results.exists(f"celery-task-meta-{goal_id}")),
    )


def events_of(llmos: LLMOS, goal_id: str) -> list[GoalEvent]:
    """The goal's changes of state."""
    events = llmos.goals.events(goal_id, count=MOST_EVENTS)
    return [event for event in events if event.kind == "state"]


def output_of(workspace: Path, project: str) -> Path:
    """Where a project's published files lie."""
    return workspace / "projects" / project / "output"


def read_files(folder: Path) -> dict[str, str]:
    """Path -> content of every file beneath a folder."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def final(state: str) -> bool:
    """Whether a goal ends in that state."""
    return bool(state) and GoalState(state).final
