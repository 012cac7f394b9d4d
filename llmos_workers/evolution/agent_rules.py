"""Who may make what agent: pure rules, the same for tools, API and command line.

An agent gives what it may itself and what the project allows, never more; it changes neither
itself nor an agent that may do what it may not, for it would act through that one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.bounds import ToolBounds
from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.execution.guard.paths import HIDDEN
from llmos_workers.execution.net.address import is_allowed_host

RULE = "agent"
MAX_PROMPT_CHARS = 30_000
CHANGEABLE = ("description", "prompt", "tools", "model", "capabilities", "status", "max_turns")
"""What a change may touch; the name stays, the version is counted."""


@dataclass(frozen=True)
class Author:
    """Who makes or changes an agent."""

    agent: str = ""
    """Name of the agent that does it; "": a person."""
    grants: frozenset[str] = frozenset()
    """What the agent may use in its run; a person may grant any tool."""
    goal_id: str = ""
    bounds: ToolBounds = field(default_factory=dict)
    """What numbers the agent itself is bound to: whom it makes or changes is, too."""

    network: tuple[str, ...] = ()
    """Hosts that the agent's own commands may reach."""

    @property
    def words(self) -> str:
        """As the history names the author."""
        return f"agent {self.agent}" if self.agent else "person"


def bound(agent: AgentDefinition, author: Author) -> AgentDefinition:
    """The agent with its author's bounds on the tools that it may use, beside its own.

    Raises ToolDenied where the two have no value in common.
    """
    bounds = {tool: dict(ranges) for tool, ranges in agent.bounds.items() if tool in agent.tools}
    for tool in agent.tools:
        for name, (least, greatest) in author.bounds.get(tool, {}).items():
            own = bounds.setdefault(tool, {}).get(name, (-math.inf, math.inf))
            both = (max(least, own[0]), min(greatest, own[1]))
            if both[0] > both[1]:
                raise ToolDenied(
                    f"the bounds of {agent.name} on {tool}.{name} have no value that "
                    f"{author.words} may use",
                    rule=RULE,
                )
            bounds[tool][name] = both
    return agent.model_copy(update={"bounds": bounds})


def check_new(agent: AgentDefinition, author: Author) -> None:
    """Raise ToolDenied unless ``author`` may make ``agent``."""
    _check_texts(agent)
    _check_grants(agent, author)
    if author.agent and author.agent == agent.name:
        raise ToolDenied("an agent does not change itself", rule=RULE)


def check_change(before: AgentDefinition, after: AgentDefinition, author: Author) -> None:
    """Raise ToolDenied unless ``author`` may turn ``before`` into ``after``."""
    wider = _beyond(before, author)
    if wider:
        raise ToolDenied(
            f"{before.name} may use {_listed(wider)}, which {author.words} may not: who changed it "
            "would act through it",
            rule=RULE,
            fix="Make a new agent, or let a person change this one.",
        )
    check_new(after, author)


def _check_grants(agent: AgentDefinition, author: Author) -> None:
    wider = _beyond(agent, author)
    if wider:
        raise ToolDenied(
            f"{_listed(wider)} cannot be granted: {author.words} may not use it here",
            rule=RULE,
            fix="Leave it out, or let a person make this agent.",
        )


def _beyond(agent: AgentDefinition, author: Author) -> list[str]:
    """The tools and hosts that the author may not give."""
    if not author.agent:
        return []
    hosts = (host for host in agent.network if not is_allowed_host(host, author.network))
    return sorted({*(set(agent.tools) - author.grants), *hosts})


def _check_texts(agent: AgentDefinition) -> None:
    if len(agent.prompt) > MAX_PROMPT_CHARS:
        raise ToolDenied(f"the prompt has over {MAX_PROMPT_CHARS:,} characters", rule=RULE)
    for what, text in (
        ("description", agent.description),
        ("prompt", agent.prompt),
        *(("capabilities", word) for word in agent.capabilities),
    ):
        if HIDDEN.search(text):
            raise ToolDenied(f"the {what} holds characters that cannot be seen", rule=RULE)
        if what != "prompt" and re.search(r"[\r\n]", text):
            raise ToolDenied(f"the {what} has more than one line", rule=RULE)


def _listed(names: list[str]) -> str:
    return ", ".join(names)
