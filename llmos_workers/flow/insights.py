"""Facts and insights: upkeep has a model look through the sessions of late, many in one call."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from llmos_workers.contracts.base import usd_to_micro
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    MalformedFile,
    ModelError,
    NotThere,
    RateLimited,
)
from llmos_workers.contracts.memory import Session
from llmos_workers.execution.judge_call import judge_model
from llmos_workers.execution.llm_contracts import CallContext, ModelRequest
from llmos_workers.kernel import keys
from llmos_workers.learning.insights import INSTRUCTIONS, SCHEMA, ask_text, read_notes
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

PURPOSE = "insights"
GOAL_ID = "upkeep-insights"
"""What the ledger files the calls under: they belong to no goal."""
SHARED_PROJECT = "upkeep"
"""Who pays for looking through sessions of several projects."""
MAX_TOKENS = 1_500
CALL_SECS = 45.0
"""Upkeep has other duties, and its message comes again after the visibility timeout."""
STALE_S = 6 * 3_600.0
"""Sessions that wait for so long are looked through though they are few."""
DAY_S = 86_400


def extract_insights(runtime: Runtime) -> str:
    """Look through one batch of new sessions; what it came to, in words."""
    memory = runtime.config.memory
    if not memory.insights or memory.sessions == "off" or not runtime.config.dispatcher.llm_allowed:
        return "off"
    if _spent_today(runtime) >= usd_to_micro(memory.insight_usd_per_day):
        return "waits: the day's money for insights is spent"
    batch = _batch(runtime)
    if not batch:
        return "nothing new"
    return _take(runtime, batch)


def _take(runtime: Runtime, batch: Sequence[str]) -> str:
    # Taken before it is paid for: a crash in between loses notes, and pays for nothing twice.
    runtime.redis.zrem(keys.SESSIONS_FRESH, *batch)
    sessions = _sessions(runtime, batch)
    try:
        return _look_through(runtime, sessions)
    except (BudgetExceeded, RateLimited) as error:
        # Nothing was sent: these sessions come again.
        runtime.redis.zadd(keys.SESSIONS_FRESH, {name: runtime.clock.now() for name in batch})
        return f"waits: {error.message}"
    except ModelError as error:
        log.warning("no insights from %d sessions: %s", len(sessions), error)
        return f"failed: {error.message}"


def _look_through(runtime: Runtime, sessions: Sequence[Session]) -> str:
    config = runtime.config
    across = config.memory.enable_cross_project_learning
    projects = {session.project for session in sessions}
    request = ModelRequest(
        model=config.memory.insight_model or judge_model(config),
        system=[{"type": "text", "text": INSTRUCTIONS}],
        messages=[{"role": "user", "content": ask_text(sessions, _told(runtime, projects))}],
        max_tokens=MAX_TOKENS,
        purpose=PURPOSE,
        output_schema=SCHEMA,
    )
    context = CallContext(
        goal_id=GOAL_ID,
        project=projects.pop() if len(projects) == 1 else SHARED_PROJECT,
        deadline=runtime.clock.now() + CALL_SECS,
    )
    response = runtime.gateway.complete(request, context)
    _count(runtime, response.cost_micro)
    new = [runtime.noted.add(note) for note in read_notes(response.text, sessions, across=across)]
    written = sum(1 for path in new if path)
    return f"{written} noted from {len(sessions)} sessions, ${response.cost_micro / 1e6:.6f}"


def _told(runtime: Runtime, projects: set[str]) -> list[str]:
    """What the projects know already: nothing of another project is shown."""
    found = {
        note.path: note.text
        for project in sorted(projects)
        for note in runtime.memory_files.notes(project)
    }
    return list(found.values())


def _batch(runtime: Runtime) -> list[str]:
    """``project/goal_id`` of sessions to look through at once, when they are enough or old enough.

    Without learning across projects a batch is of one project, so that a model is never shown two.
    What was read from outside is kept apart, so that it taints no other notes.
    """
    memory, now = runtime.config.memory, runtime.clock.now()
    raw = cast(
        list[tuple[bytes, float]],
        runtime.redis.zrange(keys.SESSIONS_FRESH, 0, 999, withscores=True),
    )
    groups: dict[Any, list[tuple[str, float]]] = defaultdict(list)
    for name, at in raw:
        project, _, goal_id = name.decode().partition("/")
        try:
            session = runtime.sessions.get(project, goal_id)
        except (NotThere, MalformedFile):
            runtime.redis.zrem(keys.SESSIONS_FRESH, name)
            continue
        shared = memory.enable_cross_project_learning and not session.tainted
        groups["" if shared else project, session.tainted].append((name.decode(), at))
    for group in groups.values():
        stale = now - group[0][1] >= STALE_S
        if stale or len(group) >= memory.insight_sessions:
            return [name for name, _ in group[: memory.insight_sessions]]
    return []


def _sessions(runtime: Runtime, batch: Sequence[str]) -> list[Session]:
    found = []
    for name in batch:
        project, _, goal_id = name.partition("/")
        try:
            found.append(runtime.sessions.get(project, goal_id))
        except (NotThere, MalformedFile) as error:
            log.info("a session is left out: %s", error)
    return found


def _today(runtime: Runtime) -> str:
    return datetime.fromtimestamp(runtime.clock.now(), UTC).date().isoformat()


def _spent_today(runtime: Runtime) -> int:
    return int(cast(Any, runtime.redis.get(keys.insights_spent(_today(runtime)))) or 0)


def _count(runtime: Runtime, micro: int) -> None:
    name = keys.insights_spent(_today(runtime))
    runtime.redis.incrby(name, micro)
    runtime.redis.expire(name, 2 * DAY_S)
