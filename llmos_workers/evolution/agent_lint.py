"""What is wrong with agents, beyond what keeps their files from being read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.config_keys import near_miss
from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.errors import UnknownAgent, UnknownModel
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.prices import Prices


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one agent."""

    agent: str
    problem: str


def lint_agents(
    loader: AgentLoader,
    tools: ToolRegistry,
    names: Collection[str] = (),
    prices: Prices | None = None,
) -> list[Fault]:
    """Faults of the named agents, or of all: unreadable files, unknown tools and models."""
    prices = prices or Prices.load(None)
    faults = [
        Fault(Path(problem.path).stem, str(problem))
        for problem in loader.problems()
        if not names or Path(problem.path).stem in names
    ]
    known = {agent.name: agent for agent in loader.load_agents()}
    for name in names or sorted(known):
        if name in known:
            faults += [Fault(name, problem) for problem in _problems(known[name], tools, prices)]
        elif not any(fault.agent == name for fault in faults):
            faults += _missing(loader, name)
    return faults


def _problems(agent: AgentDefinition, tools: ToolRegistry, prices: Prices) -> Iterator[str]:
    for tool in agent.tools:
        if tools.find(tool) is None:
            yield f"there is no tool {tool!r}.{near_miss(tool, tools.names())}"
    if agent.model is not None:
        try:
            prices.resolve(agent.model)
        except UnknownModel as error:
            yield str(error)


def _missing(loader: AgentLoader, name: str) -> list[Fault]:
    try:
        loader.get(name)
    except UnknownAgent as error:
        return [Fault(name, str(error))]
    return []
