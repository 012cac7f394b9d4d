"""What the commands of a run may reach, and where each connection is written down."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.projects import ProjectSettings
from llmos_workers.execution.net.address import is_allowed_host
from llmos_workers.execution.net.egress import Egress, EgressDecision
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.redis import Client

if TYPE_CHECKING:
    from llmos_workers.config import SecurityConfig
    from llmos_workers.flow.run import Run


def egress_of(
    security: SecurityConfig,
    redis: Client,
    run: Run,
    agent: AgentDefinition,
    project: ProjectSettings,
) -> Egress | None:
    """Hosts that the agent's file lists, as far as the settings and the project hold them. None:
    nothing, as for a shadow audit, which does once more what was done.
    """
    ceilings = [security.allowed_hosts, *([project.network] if project.network is not None else [])]
    hosts = tuple(
        host for host in agent.network if all(is_allowed_host(host, each) for each in ceilings)
    )
    if not hosts or run.record.options.shadow_of is not None:
        return None

    def write(decision: EgressDecision) -> None:
        GateLog(redis).append(record_of(decision, run, agent))

    return Egress(
        hosts,
        record=write,
        max_bytes=security.egress_mb << 20,
        goal_id=run.record.goal_id,
    )


def record_of(decision: EgressDecision, run: Run, agent: AgentDefinition) -> GateRecord:
    """A connection as the audit log keeps it."""
    done = "connects to" if decision.allowed else "is kept from"
    return GateRecord(
        decision=GateDecision.ALLOW if decision.allowed else GateDecision.DENY,
        rule=decision.rule,
        reason=f"a command {done} {decision.host or 'all hosts'}",
        tool="egress",
        digest=hashlib.sha256(decision.host.encode()).hexdigest(),
        goal_id=run.record.goal_id,
        project=run.record.project,
        agent=agent.name,
        mode=run.decision.mode.value,
        source="command",
    )
