"""What a project can be worked with: agents, and tools that traces became, in one list.

Read anew at each question, so what another worker made or took back is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.evolution.agent_choice import Fit, choose_agent, rank_agents
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.kernel.agent_records import AgentRecords


class ComponentKind(StrEnum):
    """What a component is."""

    AGENT = "agent"
    TOOL = "tool"


@dataclass(frozen=True)
class Component:
    """One of them, as it is listed."""

    kind: ComponentKind
    name: str
    """An agent's name, or a generated tool's reference."""
    description: str
    uses: tuple[str, ...] = ()
    """Tools that it may call."""
    capabilities: tuple[str, ...] = ()
    succeeded: int = 0
    failed: int = 0
    """Runs of an agent in which a model thought; of a tool nothing is counted here."""


class ComponentRegistry:
    """Finds agents and generated tools. May be used from several threads."""

    def __init__(self, agents: AgentLoader, records: AgentRecords, shelf: GeneratedTools) -> None:
        self._agents, self._records, self._shelf = agents, records, shelf

    def components(self, project: str = "default") -> list[Component]:
        """All agents, then the generated tools that may run in the project, by name. Raises
        BrokerUnavailable.
        """
        return [*self.agents(), *self.tools(project)]

    def agents(self) -> list[Component]:
        """All agents in use, with how their runs came out. Raises BrokerUnavailable."""
        found = self._agents.load_agents()
        records = self._records.of(agent.name for agent in found)
        return [
            Component(
                ComponentKind.AGENT,
                agent.name,
                agent.description,
                uses=agent.tools,
                capabilities=agent.capabilities,
                succeeded=records[agent.name].succeeded,
                failed=records[agent.name].failed,
            )
            for agent in found
        ]

    def tools(self, project: str = "default") -> list[Component]:
        """The project's generated tools that are as they were signed."""
        loaded = (self._shelf.get(ref) for ref in self._shelf.refs())
        return [
            Component(
                ComponentKind.TOOL,
                tool.record.ref,
                tool.record.template or tool.record.goal,
                uses=tuple(sorted(tool.record.tools)),
            )
            for tool in loaded
            if tool is not None and tool.record.project == project
        ]

    def find(self, name: str, project: str = "default") -> Component | None:
        """The component of that name; None: there is none. Raises BrokerUnavailable."""
        return next((each for each in self.components(project) if each.name == name), None)

    def able_to(self, capability: str) -> list[Component]:
        """Agents that name this capability. Raises BrokerUnavailable."""
        wanted = capability.strip().lower()
        return [
            each
            for each in self.agents()
            if wanted in (known.lower() for known in each.capabilities)
        ]

    def rank(self, goal: str) -> list[Fit]:
        """Agents that have anything in common with a goal, by what they say of themselves and by
        their record, the best first. Raises BrokerUnavailable.
        """
        found = self._agents.load_agents()
        return rank_agents(goal, found, self._records.of(_names(found)))

    def agent_for(self, goal: str, *, otherwise: str) -> str:
        """The name of the agent that fits best; ``otherwise``: where none does. Raises
        BrokerUnavailable.
        """
        found = self._agents.load_agents()
        records = self._records.of(_names(found))
        return choose_agent(goal, found, records, otherwise=otherwise)


def _names(agents: Iterable[AgentDefinition]) -> list[str]:
    return [agent.name for agent in agents]
