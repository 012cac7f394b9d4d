"""The parts of a worker process that change what it can do: agents and generated tools."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from llmos_workers.evolution.agent_factory import AgentFactory
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.evolution.components import ComponentRegistry
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.evolution.generated_notes import GeneratedNotes
from llmos_workers.evolution.seed import install_seed_agents
from llmos_workers.runtime_kernel import KernelParts

if TYPE_CHECKING:
    from llmos_workers.execution.crystal.runners import Runners
    from llmos_workers.execution.sandbox import Sandbox


class EvolutionParts(KernelParts):
    """Part of a Runtime; each part is made when first asked for."""

    if TYPE_CHECKING:

        @property
        def sandbox(self) -> Sandbox:
            """See Runtime."""

    @cached_property
    def agents(self) -> AgentLoader:
        """Markdown agents; a workspace without any gets the shipped ones."""
        install_seed_agents(self.workspace)
        return AgentLoader(self.workspace)

    @cached_property
    def agent_factory(self) -> AgentFactory:
        """Who writes agents."""
        return AgentFactory(self.workspace, self.agents, self.clock, bus=self.bus)

    @cached_property
    def generated(self) -> GeneratedTools:
        """Tools that traces were compiled into."""
        return GeneratedTools(self.workspace, self.keys)

    @cached_property
    def components(self) -> ComponentRegistry:
        """Agents and generated tools in one list."""
        return ComponentRegistry(self.agents, self.agent_records, self.generated)

    @cached_property
    def generated_notes(self) -> GeneratedNotes:
        """What became of generated tools, and of attempts to make some."""
        return GeneratedNotes(self.redis)

    @cached_property
    def runners(self) -> Runners:
        """Warm processes for generated tools."""
        from llmos_workers.execution.crystal.runners import Runners

        return Runners()

    @property
    def confines(self) -> bool:
        """Whether this host can hold generated tools."""
        return self.sandbox.level >= 1
