"""What a client can do besides submitting and waiting: each part made when it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from llmos_workers.client_connect import Connection

if TYPE_CHECKING:
    from llmos_workers.evolution.agent_factory import AgentFactory
    from llmos_workers.evolution.components import ComponentRegistry
    from llmos_workers.kernel.agent_records import AgentRecords
    from llmos_workers.kernel.approvals import Approvals
    from llmos_workers.kernel.economy import TokenEconomy
    from llmos_workers.kernel.edge_counters import EdgeCounters
    from llmos_workers.kernel.events import EventBus
    from llmos_workers.kernel.schedules import Schedules
    from llmos_workers.kernel.signing import KeyRing
    from llmos_workers.learning.traces import TraceManager
    from llmos_workers.sentience.manager import SentienceManager


class ClientParts(Connection):
    """Imports are inside: a client that only submits pays for none of them."""

    @cached_property
    def approval_requests(self) -> Approvals:
        """All that can be done with requests for approval."""
        from llmos_workers.kernel.approvals import Approvals
        from llmos_workers.kernel.delayed import DelayedGoals

        ttl, kept = self.config.security.approval_ttl_secs, self.config.kernel.result_retention_secs
        wake = DelayedGoals(self.redis, self.broker, self.goals).wake
        return Approvals(self.redis, ttl_s=ttl, kept_s=kept, wake=wake)

    @cached_property
    def schedules(self) -> Schedules:
        """Goals that the clock submits."""
        from llmos_workers.kernel.schedules import Schedules

        return Schedules(self.redis, self.clock)

    @cached_property
    def event_bus(self) -> EventBus:
        """System-wide events."""
        from llmos_workers.kernel.events import EventBus

        return EventBus(self.redis)

    @cached_property
    def trace_manager(self) -> TraceManager:
        """What has been learned. Needs the workspace on this machine."""
        from llmos_workers.kernel.workspace import Workspace
        from llmos_workers.learning.traces import TraceManager

        return TraceManager(
            self.redis, Workspace(self.config.workspace), self.clock, keys=self.keys
        )

    @cached_property
    def keys(self) -> KeyRing:
        """What signs traces, and whose signatures count. Needs the workspace on this machine."""
        from llmos_workers.kernel.signing import KeyRing
        from llmos_workers.kernel.workspace import Workspace

        key_file = self.config.security.signing_key_file
        return KeyRing(Workspace(self.config.workspace).keys, key_file=key_file, clock=self.clock)

    @cached_property
    def token_economy(self) -> TokenEconomy:
        """Budgets and the ledger."""
        from llmos_workers.kernel.economy import TokenEconomy
        from llmos_workers.kernel.prices import Prices

        prices = Prices.load(self.config.sdk.price_file)
        return TokenEconomy.from_config(self.redis, self.clock, prices, self.config.kernel)

    @cached_property
    def sentience(self) -> SentienceManager:
        """Internal state per project."""
        from llmos_workers.sentience.manager import SentienceManager
        from llmos_workers.sentience.valence import energy_setpoint

        def energy(project: str) -> float:
            share = self.token_economy.remaining_share(project)
            return energy_setpoint(share, self.config.sentience.energy_setpoint)

        return SentienceManager(
            self.redis,
            self.clock,
            self.config.sentience,
            energy_setpoint=energy,
            bus=self.event_bus,
        )

    @cached_property
    def agent_records(self) -> AgentRecords:
        """How agents' runs came out."""
        from llmos_workers.kernel.agent_records import AgentRecords

        return AgentRecords(self.redis)

    @cached_property
    def edge_counters(self) -> EdgeCounters:
        """Numbers of bundles for devices."""
        from llmos_workers.kernel.edge_counters import EdgeCounters

        return EdgeCounters(self.redis)

    @cached_property
    def agent_factory(self) -> AgentFactory:
        """Who writes agents; its ``loader`` reads them. Needs the workspace on this machine."""
        from llmos_workers.evolution.agent_factory import AgentFactory
        from llmos_workers.evolution.agents import AgentLoader
        from llmos_workers.kernel.workspace import Workspace

        workspace = Workspace(self.config.workspace)
        return AgentFactory(workspace, AgentLoader(workspace), self.clock, bus=self.event_bus)

    @cached_property
    def components(self) -> ComponentRegistry:
        """Agents and generated tools in one list. Needs the workspace on this machine."""
        from llmos_workers.evolution.components import ComponentRegistry
        from llmos_workers.evolution.generated import GeneratedTools
        from llmos_workers.kernel.workspace import Workspace

        shelf = GeneratedTools(Workspace(self.config.workspace), self.keys)
        return ComponentRegistry(self.agent_factory.loader, self.agent_records, shelf)
