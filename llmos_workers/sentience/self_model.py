"""SelfModel and GlobalWorkspace: what the system is and what it is at, from counts. Pure."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Contract, Micro

SHOWN = 8
"""Most entries of a list that a prompt shows."""


class SelfModel(Contract):
    """What a project can do, cannot, how well it goes and what is left. Counted, not believed."""

    capabilities: tuple[str, ...] = ()
    """What it has been shown to do: goals that it replays, agents and generated tools."""
    limitations: tuple[str, ...] = ()
    """What it does not do well: traces that break or only help, agents that fail."""
    performance: dict[str, float] = Field(default_factory=dict)
    """traces, replays, replay_success (0..1), saved_usd, agent_runs, agent_success (0..1)."""
    resources: dict[str, float] = Field(default_factory=dict)
    """budget_left (share, 0..1), spent_usd, reserved_usd."""


class GlobalWorkspace(Contract):
    """What a project is at now."""

    current_goal: str = ""
    """Words of the goal that has been running for the shortest time; "" when none runs."""
    current_task: str = ""
    """The last call of that goal."""
    attention: tuple[str, ...] = ()
    """What waits for people, or is about to run out."""
    focus: str = ""
    """What most of the newest goals were done by: a mode."""


class TraceCounts(Contract):
    """Counts of one trace."""

    goal: str
    uses: int = Field(default=0, ge=0)
    successes: int = Field(default=0, ge=0)
    saved_micro: Micro = 0
    proved: bool = True
    tool: str | None = None


class AgentCounts(Contract):
    """Counts of one agent."""

    name: str
    succeeded: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)


def self_model(
    traces: list[TraceCounts],
    agents: list[AgentCounts],
    *,
    budget_left: float,
    spent_micro: int,
    reserved_micro: int,
) -> SelfModel:
    """The model that follows from counts."""
    used = sorted((t for t in traces if t.proved), key=lambda t: (-t.uses, t.goal))
    uses, good = sum(t.uses for t in traces), sum(t.successes for t in traces)
    runs = sum(a.succeeded + a.failed for a in agents)
    limits = [f"only helps with: {t.goal}" for t in traces if not t.proved]
    limits += [
        f"breaks at times: {t.goal} ({t.successes} of {t.uses})"
        for t in used
        if t.uses and t.successes < t.uses
    ]
    limits += [
        f"agent {a.name} failed {a.failed} of {a.succeeded + a.failed} runs"
        for a in agents
        if a.failed > a.succeeded
    ]
    performance = {
        "traces": float(len(traces)),
        "replays": float(uses),
        "saved_usd": sum(t.saved_micro for t in traces) / 1e6,
        "agent_runs": float(runs),
    }
    # A share of nothing is no share.
    performance |= {"replay_success": good / uses} if uses else {}
    performance |= {"agent_success": sum(a.succeeded for a in agents) / runs} if runs else {}
    return SelfModel(
        capabilities=tuple(
            f"{t.goal} (replayed {t.uses} times{', as a tool' if t.tool else ''})" for t in used
        ),
        limitations=tuple(limits),
        performance=performance,
        resources={
            "budget_left": budget_left,
            "spent_usd": spent_micro / 1e6,
            "reserved_usd": reserved_micro / 1e6,
        },
    )


def self_block(model: SelfModel, now: GlobalWorkspace) -> str:
    """Both for a prompt, bounded. Goals are data of users: one line each, marks taken out."""
    lines = ["[SELF_MODEL]"]
    for name, listed in (("can", model.capabilities), ("limits", model.limitations)):
        lines += [f"{name}: {_plain(each)}" for each in listed[:SHOWN]]
    for counts in (model.performance, model.resources):
        lines.append(", ".join(f"{name}={value:.4g}" for name, value in counts.items()))
    lines += ["[/SELF_MODEL]", "[GLOBAL_WORKSPACE]"]
    lines += [
        f"current_goal={_plain(now.current_goal) or 'none'}",
        f"current_task={_plain(now.current_task) or 'none'}",
        f"attention={'; '.join(map(_plain, now.attention[:SHOWN])) or 'none'}",
        f"focus={now.focus or 'none'}",
        "[/GLOBAL_WORKSPACE]",
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return " ".join(text.split())[:160].replace("[", "(").replace("]", ")")
