"""What the shell is offered on TAB: ids and names that are there, found quickly or not at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem
from redis.backoff import NoBackoff
from redis.retry import Retry

from llmos_cli.render import short
from llmos_workers.client_connect import find_redis
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client, connect
from llmos_workers.kernel.workspace import Workspace

if TYPE_CHECKING:
    from llmos_cli.context import Session
    from llmos_workers.learning.traces import TraceManager

MOST = 50
"""Values that are offered at most."""
NEWEST = 200
"""Goals that are looked at, newest first."""
PATIENCE_S = 0.5
"""Longest wait for a connection and for each answer, in seconds; nothing is tried twice."""

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")
"""What a shell takes as one word that means nothing to it. A plain app chooses the ids of its
goals, and what is offered lands on a command line.
"""

Pairs = Iterator[tuple[str, str]]
"""A value and what it is, in words."""


@dataclass(frozen=True)
class Place:
    """Where values are looked for."""

    redis: Client
    workspace: Workspace
    project: str | None
    """What ``--project`` says, if it stands on the line already."""
    begins: str
    """What was typed of the value."""

    @property
    def goals(self) -> GoalStore:
        """The goal records."""
        return GoalStore(self.redis, SystemClock())

    @property
    def traces(self) -> TraceManager:
        """What has been learned."""
        from llmos_workers.learning.traces import TraceManager

        return TraceManager(self.redis, self.workspace)


def offered(kind: str, session: Session, project: str | None, begins: str) -> list[CompletionItem]:
    """At most MOST values of ``kind`` (a name of WORDS or SOURCES) that begin with ``begins``.

    What goes wrong is not told, as a prompt is no place for it: what was found until then counts.
    """
    if kind in WORDS:
        return [CompletionItem(word) for word in WORDS[kind]() if word.startswith(begins.lower())]
    found: dict[str, str] = {}
    with _quiet(), suppress(Exception), _place(session, project, begins) as place:
        for value, told in SOURCES[kind](place):
            if value.startswith(begins) and PLAIN.fullmatch(value):
                found.setdefault(value, told)
            if len(found) == MOST:
                break
    return [CompletionItem(value, help=short(told)) for value, told in found.items()]


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _place(session: Session, project: str | None, begins: str) -> Iterator[Place]:
    config = session.config
    redis = connect(config.redis, url=find_redis(config).url, timeout_s=PATIENCE_S)
    redis.set_retry(Retry(NoBackoff(), 0))
    with closing(redis):
        yield Place(redis, Workspace(config.workspace), project, begins)


def _goals(place: Place) -> Pairs:
    return map(_told, place.goals.list(project=place.project, limit=NEWEST))


def _live(place: Place) -> Pairs:
    found = place.goals.list(project=place.project, limit=NEWEST)
    return (_told(record) for record in found if not record.state.final)


def _dead(place: Place) -> Pairs:
    found = place.goals.list(project=place.project, state=GoalState.DEAD, limit=NEWEST)
    return map(_told, found)


def _told(record: GoalRecord) -> tuple[str, str]:
    return record.goal_id, f"{record.state}: {record.text}"


def _approvals(place: Place) -> Pairs:
    from llmos_workers.kernel.approvals import Approvals

    for one in Approvals(place.redis).pending():
        yield one.approval_id, one.shown


def _schedules(place: Place) -> Pairs:
    from llmos_workers.kernel.schedules import Schedules

    for one in Schedules(place.redis, SystemClock()).list():
        yield one.schedule_id, f"{one.cron} {one.goal}"


def _traces(place: Place) -> Pairs:
    manager = place.traces
    for project in [place.project] if place.project else manager.projects():
        ids = [each for each in manager.ids(project) if each.startswith(place.begins)][:MOST]
        for trace_id, trace in manager.get_many(project, ids).items():
            yield trace_id, trace.goal_text


def _projects(place: Place) -> Pairs:
    from llmos_workers.kernel.projects import ProjectManager

    for folder in ProjectManager(place.workspace).list_projects():
        yield folder.name, "project"
    for name in place.traces.projects():
        yield name, "project"
    for record in place.goals.list(limit=NEWEST):
        yield record.project, "project"


def _agents(place: Place) -> Pairs:
    from llmos_workers.evolution.agents import AgentLoader

    for agent in AgentLoader(place.workspace).load_agents():
        yield agent.name, agent.description


def _modes() -> Iterable[str]:
    return (mode.value.lower() for mode in RequestedMode)


def _states() -> Iterable[str]:
    return (state.value.lower() for state in GoalState)


def _roles() -> Iterable[str]:
    from llmos_workers.worker import ROLES

    return ROLES


def _presets() -> Iterable[str]:
    from llmos_workers.config import PRESETS

    return PRESETS


WORDS: dict[str, Callable[[], Iterable[str]]] = {
    "modes": _modes, "states": _states, "roles": _roles, "presets": _presets,
}  # fmt: skip
"""Kind of value -> the words that are one, wherever llmos is used."""

SOURCES: dict[str, Callable[[Place], Pairs]] = {
    "goals": _goals, "live": _live, "dead": _dead, "approvals": _approvals,
    "schedules": _schedules, "traces": _traces, "projects": _projects, "agents": _agents,
}  # fmt: skip
"""Kind of value -> where it comes from. ``live``: goals that have not ended."""
