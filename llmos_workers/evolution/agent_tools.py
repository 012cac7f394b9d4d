"""create_agent, modify_agent, list_agents: how agents make agents, through the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.evolution.agent_factory import AgentFactory
from llmos_workers.evolution.agent_rules import MAX_PROMPT_CHARS, Author
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.execution.tools.base import Tool, ToolContext, success

Changed = Callable[[str, bool, str], None]
"""Told of each attempt: project, whether it went well, what it was in words."""

_FIELDS: dict[str, Any] = {
    "description": {
        "type": "string",
        "minLength": 1,
        "maxLength": 1_000,
        "description": "One line: what the agent is for.",
    },
    "system_prompt": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_PROMPT_CHARS,
        "description": "Who the agent is and how it works, in Markdown.",
    },
    "tools": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 50,
        "description": "Exact names, no more than you have yourself.",
    },
    "model": {"type": "string", "maxLength": 100},
    "capabilities": {"type": "array", "items": {"type": "string"}, "maxItems": 20},
}
_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "description": "Lower-case letters, digits and inner '-'.",
}
_SAID_AS = {"system_prompt": "prompt"}


def _schema(*required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": _NAME, **_FIELDS},
        "required": list(required),
        "additionalProperties": False,
    }


class _Changing:
    """What both tools share: who calls, and telling whoever watches how it went."""

    def __init__(self, factory: AgentFactory, changed: Changed) -> None:
        self._factory, self._changed = factory, changed

    def _attempt(
        self, ctx: ToolContext, words: str, make: Callable[[Author], AgentDefinition]
    ) -> ToolResult:
        try:
            own = self._factory.loader.get(ctx.agent)
            author = Author(
                agent=ctx.agent,
                grants=ctx.grants,
                goal_id=ctx.goal_id,
                bounds=own.bounds,
                network=own.network,
            )
            made = make(author)
        except LLMOSError:
            self._changed(ctx.project, False, f"could not {words}")
            raise
        self._changed(ctx.project, True, words)
        tools = ", ".join(made.tools) or "none"
        return success(f"Agent {made.name} is version {made.version}; its tools: {tools}.")


class CreateAgentTool(_Changing):
    """Writes a new agent, which every worker can use at once."""

    spec = ToolSpec(
        name="create_agent",
        description="Create a new agent: a specialist with its own system prompt and tools, which "
        "goals can then name. It gets no tool that you do not have.",
        input_schema=_schema("name", "description", "system_prompt"),
        effect=Effect.EXTERNAL,
        informative=False,
        control=True,
        defer_loading=False,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Raises ToolDenied beyond the caller's grants, InvalidOption for a taken name."""
        agent = AgentDefinition(**_fields(arguments))
        return self._attempt(
            ctx,
            f"create the agent {agent.name}",
            lambda author: self._factory.create_agent(agent, author, why=_why(ctx)),
        )


class ModifyAgentTool(_Changing):
    """Changes an agent, as a new version that a person can take back."""

    spec = ToolSpec(
        name="modify_agent",
        description="Change an agent that may do no more than you: only the fields that you give. "
        "The old version is kept.",
        input_schema=_schema("name"),
        effect=Effect.EXTERNAL,
        informative=False,
        control=True,
    )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """Raises ToolDenied beyond the caller's grants and for the caller itself, UnknownAgent."""
        changes = _fields(arguments)
        name = changes.pop("name")
        return self._attempt(
            ctx,
            f"change the agent {name}",
            lambda author: self._factory.modify_agent(name, changes, author, why=_why(ctx)),
        )


class ListAgentsTool:
    """What agents there are."""

    spec = ToolSpec(
        name="list_agents",
        description="List the agents there are: name, description, tools, capabilities.",
        input_schema={"type": "object", "properties": {}, "additionalProperties": False},
        effect=Effect.READ,
        informative=True,
    )

    def __init__(self, loader: AgentLoader) -> None:
        self._loader = loader

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:  # noqa: ARG002
        """One line of JSON an agent."""
        lines = [
            json.dumps(
                {
                    "name": agent.name,
                    "description": agent.description,
                    "tools": agent.tools,
                    "capabilities": agent.capabilities,
                    "version": agent.version,
                },
                ensure_ascii=False,
            )
            for agent in self._loader.load_agents()
        ]
        return success("\n".join(lines))


def agent_tools(factory: AgentFactory, loader: AgentLoader, changed: Changed) -> Iterable[Tool]:
    """All three."""
    return [
        CreateAgentTool(factory, changed),
        ModifyAgentTool(factory, changed),
        ListAgentsTool(loader),
    ]


def _fields(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as fields of an agent."""
    return {
        _SAID_AS.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }


def _why(ctx: ToolContext) -> str:
    return f"project {ctx.project}"
