"""SelfModel and GlobalWorkspace of a project, read from what has been counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from llmos_workers.contracts.events import GoalEventKind
from llmos_workers.contracts.goal import GoalState
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.sentience.self_model import (
    AgentCounts,
    GlobalWorkspace,
    SelfModel,
    TraceCounts,
    self_model,
)

if TYPE_CHECKING:
    from llmos_workers.evolution.agents import AgentLoader
    from llmos_workers.kernel.agent_records import AgentRecords
    from llmos_workers.kernel.economy import TokenEconomy
    from llmos_workers.kernel.goals import GoalStore
    from llmos_workers.learning.traces import TraceManager

NEWEST = 20
"""So many of the newest goals say what the focus is."""
LOW_BUDGET = 0.2


def model_of(
    project: str,
    traces: TraceManager,
    agents: AgentLoader,
    records: AgentRecords,
    economy: TokenEconomy,
) -> SelfModel:
    """Raises BrokerUnavailable."""
    counted = [
        TraceCounts(
            goal=one_line(trace.goal_text, 120),
            uses=trace.usage_count,
            successes=trace.success_count,
            saved_micro=trace.total_saved_micro,
            proved=trace.proved,
            tool=trace.crystallized_into_tool,
        )
        for trace in traces.list(project)
    ]
    names = [agent.name for agent in agents.load_agents()]
    runs = [
        AgentCounts(name=name, succeeded=record.succeeded, failed=record.failed)
        for name, record in records.of(names).items()
        if record.succeeded or record.failed
    ]
    sums = economy.scope(f"project:{project}")
    return self_model(
        counted,
        runs,
        budget_left=economy.remaining_share(project),
        spent_micro=sums["spent"] or 0,
        reserved_micro=sums["reserved"] or 0,
    )


def workspace_of(project: str, goals: GoalStore, economy: TokenEconomy) -> GlobalWorkspace:
    """Raises BrokerUnavailable."""
    running = goals.list(project=project, state=GoalState.RUNNING, limit=1)
    task = ""
    if running:
        calls = [
            event.data
            for event in goals.events(running[0].goal_id, count=1_000)
            if event.kind == GoalEventKind.TOOL_CALL
        ]
        task = f"{calls[-1].get('name')}: {calls[-1].get('summary')}" if calls else ""
    newest = goals.list(project=project, limit=NEWEST)
    modes = Counter(r.outcome.mode.value for r in newest if r.outcome and r.outcome.mode)
    attention = [
        f"waits for approval: {one_line(record.text, 80)}"
        for record in goals.list(project=project, state=GoalState.WAITING_APPROVAL, limit=5)
    ]
    left = economy.remaining_share(project)
    if left < LOW_BUDGET:
        attention.append(f"{left:.0%} of the budget is left")
    return GlobalWorkspace(
        current_goal=one_line(running[0].text, 160) if running else "",
        current_task=task,
        attention=tuple(attention),
        focus=modes.most_common(1)[0][0] if modes else "",
    )
