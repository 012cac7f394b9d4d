"""Why a trace is not followed for a goal, here and now: by itself, or for the agent asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_workers.contracts.agents import AUTO, AgentDefinition
from llmos_workers.contracts.errors import UnknownAgent
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.clock import iso
from llmos_workers.learning.followable import replay_blockers

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


def blockers_now(
    runtime: Runtime,
    record: GoalRecord,
    trace: ExecutionTrace,
    slots: Mapping[str, str],
    *,
    stage: str = "exact",
    area: Path | None = None,
) -> tuple[str, ...]:
    """See learning.followable.replay_blockers; ``area`` is the goal's place unless given."""
    if area is None:
        area = runtime.workspace.peek(record.place).output
    versions, day = runtime.tools.versions(), iso(runtime.clock.now())[:10]
    if why := _of_agent(runtime, record, trace):
        return (why,)
    return replay_blockers(trace, slots, area, versions, stage=stage, day=day)


def agent_digest(agent: AgentDefinition) -> str:
    """What of an agent a model sees, and so what it writes depends on; not what it is granted."""
    return hashlib.sha256(agent.prompt.strip().encode()).hexdigest()[:16]


def _of_agent(runtime: Runtime, record: GoalRecord, trace: ExecutionTrace) -> str:
    """Who names an agent wants that one's work; and an agent that was told to be another is one."""
    named = record.options.agent
    if named not in (None, AUTO) and named != trace.agent:
        return f"the agent {trace.agent} did it, and {named} is asked for"
    try:
        agent = runtime.agents.get(trace.agent)
    except UnknownAgent:
        return f"the agent {trace.agent}, which did it, is gone"
    if trace.agent_digest and agent_digest(agent) != trace.agent_digest:
        return f"the instructions of the agent {trace.agent} changed since it was learned"
    return ""
