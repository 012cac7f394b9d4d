"""One look at the system: what a dashboard, ``llmos top`` and the report show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmos_workers.contracts.audits import AuditCounts
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.state import SentienceState
from llmos_workers.kernel import keys
from llmos_workers.kernel.audits import Audits
from llmos_workers.kernel.backlog import Backlog, read_backlog
from llmos_workers.kernel.economy_scopes import ScopeState
from llmos_workers.kernel.workers import live_workers
from llmos_workers.learning.posterior import upper_bound
from llmos_workers.sentience.manager import SentienceManager
from llmos_workers.sentience.valence import energy_setpoint

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS

MOST_PROJECTS = 100
"""Projects that are told one by one, by name; the rest are in the global figures."""


@dataclass(frozen=True)
class Figures:
    """The system at one moment."""

    states: dict[str, int]
    """State -> goals that are in it and still kept."""
    backlog: Backlog
    workers: tuple[dict[str, Any], ...]
    """What each live worker says of itself (kernel.workers)."""
    budgets: tuple[ScopeState, ...]
    """Global first, then projects."""
    feelings: dict[str, SentienceState]
    """Project -> internal state; empty with sentience switched off."""
    counters: dict[str, int]
    """What the system had to do by itself, e.g. ``recovery.lost``."""
    audits: AuditCounts
    wrong_bound: float
    """Upper 95 % bound of the share of wrong replays; 1 without audits."""
    approvals: int
    """Requests that nobody answered yet."""
    traces: int
    """Traces known, all projects together."""


def look(client: LLMOS) -> Figures:
    """Read everything once; changes nothing. Raises redis.RedisError."""
    state = client.redis
    names = client.token_economy.known_scopes()[: MOST_PROJECTS + 1]
    projects = [name.removeprefix("project:") for name in names[1:]]
    audits = Audits(state).counts()
    counters = cast("dict[bytes, bytes]", state.hgetall(keys.COUNTERS))
    return Figures(
        states=_states(client),
        backlog=read_backlog(state, client.broker),
        workers=tuple(live_workers(state)),
        budgets=tuple(client.token_economy.states(names)),
        feelings=_feelings(client, projects or ["default"]),
        counters={name.decode(): int(value) for name, value in sorted(counters.items())},
        audits=audits,
        wrong_bound=upper_bound(audits.disagreed, audits.decided),
        approvals=state.zcard(keys.APPROVALS_OPEN),
        traces=_traces(client),
    )


def _feelings(client: LLMOS, projects: list[str]) -> dict[str, SentienceState]:
    config = client.config.sentience
    if not config.enable_sentience:
        return {}

    def target(project: str) -> float:
        share = client.token_economy.remaining_share(project)
        return energy_setpoint(share, config.energy_setpoint)

    manager = SentienceManager(client.redis, client.clock, config, energy_setpoint=target)
    return {name: manager.get_state(name) for name in projects}


def _states(client: LLMOS) -> dict[str, int]:
    with client.redis.pipeline(transaction=False) as pipe:
        for state in GoalState:
            pipe.zcard(keys.goals_in_state(state))
        return dict(zip([state.value for state in GoalState], pipe.execute(), strict=True))


def _traces(client: LLMOS) -> int:
    projects = cast("set[bytes]", client.redis.smembers(keys.TRACE_PROJECTS))
    with client.redis.pipeline(transaction=False) as pipe:
        for project in projects:
            pipe.scard(keys.trace_ids(project.decode()))
        return sum(pipe.execute())
