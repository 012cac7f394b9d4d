"""Suggestions by which the system could improve itself, from counted facts. Pure."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.state import CognitivePolicy, SentienceState

CRYSTALLIZE_USES = 5
CRYSTALLIZE_RATE = 0.95
COSTLY_MEAN_USD = 0.30
COSTS_LOOKED_AT = 5
WEAK_AGENT_RUNS = 5
WEAK_AGENT_RATE = 0.70
TOPIC_GOALS = 3
"""Goals of one kind without an agent for it, from which a new agent is worth it."""
REPEATED_COMMANDS = 10
UNUSED_TRACES = 20


class SelfImprovementType(StrEnum):
    """Kinds of suggestions."""

    CRYSTALLIZE_PATTERN = "crystallize_pattern"
    AUDIT_ARCHITECTURE = "audit_architecture"
    OPTIMIZE_EXISTING_TOOL = "optimize_existing_tool"
    REFACTOR_AGENT = "refactor_agent"
    CREATE_NEW_AGENT = "create_new_agent"
    CREATE_NEW_TOOL = "create_new_tool"
    CLEANUP_TRACES = "cleanup_traces"
    RECORD_PATTERN = "record_pattern"


PRIORITIES = {
    SelfImprovementType.CRYSTALLIZE_PATTERN: 0.8,
    SelfImprovementType.AUDIT_ARCHITECTURE: 0.7,
    SelfImprovementType.OPTIMIZE_EXISTING_TOOL: 0.6,
    SelfImprovementType.REFACTOR_AGENT: 0.5,
    SelfImprovementType.CREATE_NEW_AGENT: 0.4,
    SelfImprovementType.CREATE_NEW_TOOL: 0.3,
    SelfImprovementType.CLEANUP_TRACES: 0.2,
    SelfImprovementType.RECORD_PATTERN: 0.35,
}


class PatternFacts(Contract):
    """Counts of one trace, from real outcomes after its creation."""

    trace_id: str
    goal_text: str
    usage_count: int = Field(default=0, ge=0)
    success_rate: float = Field(default=1.0, ge=0, le=1)
    recent_costs_usd: tuple[float, ...] = ()
    """Oldest first."""
    crystallized: bool = False


class AgentFacts(Contract):
    """Counts of one agent."""

    name: str
    runs: int = Field(default=0, ge=0)
    successes: int = Field(default=0, ge=0)


class ImprovementFacts(Contract):
    """What has been counted since the system runs."""

    patterns: tuple[PatternFacts, ...] = ()
    agents: tuple[AgentFacts, ...] = ()
    unserved_topics: dict[str, int] = Field(default_factory=dict)
    """Topic -> goals of it that ran under the default agent."""
    repeated_commands: dict[str, int] = Field(default_factory=dict)
    """Shape of a shell command -> uses in different traces."""
    unused_traces: int = Field(default=0, ge=0)
    untraced: dict[str, str] = Field(default_factory=dict)
    """Key of calls that several goals made alike and that no trace holds -> what they are."""
    secs_since_last: float | None = None
    """Seconds since the last suggestion; None: there was none."""


class SelfImprovementSuggestion(Contract):
    """One thing that could be improved. ``subject`` is the trace, agent or command it is about."""

    type: SelfImprovementType
    description: str
    priority: float = Field(ge=0, le=1)
    subject: str = ""


def suggest(
    state: SentienceState, policy: CognitivePolicy, facts: ImprovementFacts
) -> tuple[SelfImprovementSuggestion, ...]:
    """All suggestions that state, policy and facts allow, by priority."""
    if not policy.enable_auto_improvement:
        return ()
    waited = facts.secs_since_last
    if waited is not None and waited < policy.improvement_cooldown_secs:
        return ()
    found = _about_patterns(facts) + _about_agents(facts) + _about_the_whole(facts)
    if state.valence.curiosity < policy.boredom_threshold:
        found.append(
            _suggestion(
                SelfImprovementType.AUDIT_ARCHITECTURE,
                "the work has become repetitive: look at what could be automated as a whole",
            )
        )
    return tuple(sorted(found, key=lambda s: (-s.priority, s.type.value, s.subject)))


def _about_patterns(facts: ImprovementFacts) -> list[SelfImprovementSuggestion]:
    found = []
    for pattern in facts.patterns:
        if (
            not pattern.crystallized
            and pattern.usage_count >= CRYSTALLIZE_USES
            and pattern.success_rate >= CRYSTALLIZE_RATE
        ):
            text = f"used {pattern.usage_count} times: compile {pattern.goal_text!r} into a tool"
            kind = SelfImprovementType.CRYSTALLIZE_PATTERN
            found.append(_suggestion(kind, text, pattern.trace_id))
        recent = pattern.recent_costs_usd[-COSTS_LOOKED_AT:]
        if len(recent) == COSTS_LOOKED_AT and sum(recent) / COSTS_LOOKED_AT > COSTLY_MEAN_USD:
            mean = sum(recent) / COSTS_LOOKED_AT
            text = f"costs ${mean:.2f} on average: find a cheaper way for {pattern.goal_text!r}"
            kind = SelfImprovementType.OPTIMIZE_EXISTING_TOOL
            found.append(_suggestion(kind, text, pattern.trace_id))
    return found


def _about_agents(facts: ImprovementFacts) -> list[SelfImprovementSuggestion]:
    found = []
    for agent in facts.agents:
        if agent.runs >= WEAK_AGENT_RUNS and agent.successes / agent.runs < WEAK_AGENT_RATE:
            text = f"agent {agent.name} succeeded in {agent.successes} of {agent.runs} runs"
            found.append(_suggestion(SelfImprovementType.REFACTOR_AGENT, text, agent.name))
    for topic, goals in facts.unserved_topics.items():
        if goals >= TOPIC_GOALS:
            text = f"{goals} goals about {topic} have no agent of their own"
            found.append(_suggestion(SelfImprovementType.CREATE_NEW_AGENT, text, topic))
    return found


def _about_the_whole(facts: ImprovementFacts) -> list[SelfImprovementSuggestion]:
    found = []
    for command, uses in facts.repeated_commands.items():
        if uses >= REPEATED_COMMANDS:
            text = f"the command {command!r} appears in {uses} traces: make it a tool"
            found.append(_suggestion(SelfImprovementType.CREATE_NEW_TOOL, text, command))
    for key, calls in facts.untraced.items():
        text = f"goals make the same calls and no trace holds them: {calls}"
        found.append(_suggestion(SelfImprovementType.RECORD_PATTERN, text, key))
    if facts.unused_traces >= UNUSED_TRACES:
        text = f"{facts.unused_traces} traces have not been used: remove what nobody needs"
        found.append(_suggestion(SelfImprovementType.CLEANUP_TRACES, text))
    return found


def _suggestion(
    kind: SelfImprovementType, text: str, subject: str = ""
) -> SelfImprovementSuggestion:
    return SelfImprovementSuggestion(
        type=kind, description=text, priority=PRIORITIES[kind], subject=subject
    )
