"""Agents as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmos_cli.output import data_of
from llmos_cli.render import short

if TYPE_CHECKING:
    from llmos_workers.contracts.agents import AgentDefinition
    from llmos_workers.evolution.agent_history import AgentVersion
    from llmos_workers.kernel.agent_records import AgentRecord


def agent_data(agent: AgentDefinition, record: AgentRecord | None = None) -> dict[str, Any]:
    """An agent for JSON, with its record where there is one."""
    data = data_of(agent)
    if record is not None:
        data["runs"] = {"succeeded": record.succeeded, "failed": record.failed}
    return data


def table(agents: Sequence[AgentDefinition], records: Mapping[str, AgentRecord]) -> list[str]:
    """A line an agent."""
    if not agents:
        return ["no agents; llmos up installs the shipped ones."]
    wide = max(len(agent.name) for agent in agents)
    return [
        f"{agent.name:{wide}}  v{agent.version:<3} {_runs(records[agent.name]):12} "
        f"{short(agent.description)}"
        for agent in agents
    ]


def agent_lines(agent: AgentDefinition, record: AgentRecord) -> list[str]:
    """All of an agent."""
    facts = [
        ("name", agent.name),
        ("description", agent.description),
        ("tools", ", ".join(agent.tools) or "none"),
        ("model", agent.model or "as configured"),
        ("version", str(agent.version)),
        ("capabilities", ", ".join(agent.capabilities) or "none"),
        ("runs", _runs(record) or "none"),
        ("file", agent.path),
    ]
    return [*(f"{name:13} {value}" for name, value in facts), "", agent.prompt]


def version_line(version: AgentVersion) -> str:
    """A version in one line."""
    draft = "  draft" if version.draft else ""
    goal = f"  goal {version.goal_id}" if version.goal_id else ""
    why = f"  {short(version.why)}" if version.why else ""
    return f"{version.number:4}  {version.at}  by {version.by}{draft}{goal}{why}"


def _runs(record: AgentRecord) -> str:
    runs = record.succeeded + record.failed
    return f"{record.succeeded} of {runs} ok" if runs else ""
