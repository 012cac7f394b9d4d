"""Which agent fits a goal: by what it says of itself, and by how its work came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.tools import Effect, ToolSpec
from llmos_workers.execution.tools.search_engine import ToolSearchEngine
from llmos_workers.kernel.agent_records import AgentRecord

NO_RECORD = AgentRecord()


@dataclass(frozen=True)
class Fit:
    """An agent with how well it fits; scores compare within one ranking only."""

    agent: AgentDefinition
    score: float
    record: AgentRecord


def rank_agents(
    goal: str, agents: Iterable[AgentDefinition], records: Mapping[str, AgentRecord]
) -> list[Fit]:
    """Agents that have words in common with the goal, the best first.

    The score is BM25 over name, description and capabilities, times the share of the agent's
    runs that succeeded (with one success and one failure added: nobody begins at 0 or 1).
    """
    known = {agent.name: agent for agent in agents}
    engine = ToolSearchEngine(_as_spec(agent) for agent in known.values())
    fits = [
        Fit(known[found.spec.name], found.score * record.success_mean, record)
        for found in engine.search_tools(goal, top_k=len(known))
        for record in [records.get(found.spec.name, NO_RECORD)]
    ]
    return sorted(fits, key=lambda fit: (-fit.score, fit.agent.name))


def choose_agent(
    goal: str,
    agents: Iterable[AgentDefinition],
    records: Mapping[str, AgentRecord],
    *,
    otherwise: str,
) -> str:
    """The name of the agent that fits best; ``otherwise`` where none has anything in common."""
    ranked = rank_agents(goal, agents, records)
    return ranked[0].agent.name if ranked else otherwise


def _as_spec(agent: AgentDefinition) -> ToolSpec:
    """The agent as the search engine takes what it ranks."""
    return ToolSpec(
        name=agent.name,
        description=f"{agent.description} {' '.join(agent.capabilities)}",
        input_schema={"type": "object", "properties": {}},
        effect=Effect.READ,
        informative=True,
    )
