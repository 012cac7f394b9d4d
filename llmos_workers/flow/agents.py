"""Which agent a run thinks as."""

from __future__ import annotations

from llmos_workers.contracts.agents import AUTO, AgentDefinition
from llmos_workers.flow.run import Run

DEFAULT_AGENT = "system-agent"


def agent_of(run: Run, trace_agent: str | None = None) -> AgentDefinition:
    """The agent that the goal names; else the trace's; else the one that fits the goal best, where
    the goal asks for that, or the default one. Raises UnknownAgent.
    """
    runtime, named = run.runtime, run.record.options.agent
    if named and named != AUTO:
        return runtime.agents.get(named)
    if trace_agent:
        return runtime.agents.get(trace_agent)
    if named is None:
        return runtime.agents.get(DEFAULT_AGENT)
    chosen = runtime.components.agent_for(run.record.text, otherwise=DEFAULT_AGENT)
    runtime.notice(run.record.goal_id, f"chosen for this goal: the agent {chosen}")
    return runtime.agents.get(chosen)
