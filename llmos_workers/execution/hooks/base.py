"""Hooks: code that sees every tool call and may allow, deny, ask, change or add."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.tools import ToolCall, ToolResult, ToolSpec


class HookKind(StrEnum):
    """When a hook is asked."""

    PRE_TOOL_USE = "PreToolUse"
    POST_TOOL_USE = "PostToolUse"
    ON_ERROR = "OnError"
    USER_PROMPT_SUBMIT = "UserPromptSubmit"


class HookAction(StrEnum):
    """What a hook may answer."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"
    """A person has to confirm the call."""
    MODIFY = "modify"
    """PreToolUse: run with other arguments. PostToolUse: give another output."""
    INJECT = "inject"
    """Allow, and tell the model something."""


@dataclass(frozen=True)
class HookEvent:
    """What a hook gets to see."""

    kind: HookKind
    project: str
    goal_id: str
    agent: str
    mode: Mode
    source: str
    """``model`` or ``trace``."""
    policy: CognitivePolicy = field(default_factory=CognitivePolicy)
    call: ToolCall | None = None
    spec: ToolSpec | None = None
    result: ToolResult | None = None
    prompt: str = ""
    area: str = ""
    """The folder that the call works in; empty where there is none."""


@dataclass(frozen=True)
class HookDecision:
    """A hook's answer. ``rule`` and ``reason`` are shown to the model: no secrets."""

    action: HookAction = HookAction.ALLOW
    rule: str = ""
    reason: str = ""
    arguments: dict[str, Any] | None = None
    """For MODIFY before a call."""
    output: str | None = None
    """For MODIFY after a call."""
    context: str = ""
    """For INJECT."""


ALLOW = HookDecision()


def deny(rule: str, reason: str) -> HookDecision:
    """The call must not run."""
    return HookDecision(HookAction.DENY, rule, reason)


def ask(rule: str, reason: str) -> HookDecision:
    """The call may run once a person said yes."""
    return HookDecision(HookAction.ASK, rule, reason)


class Hook:
    """Base of hooks in Python: override what you care about; everything else allows.

    A hook that raises counts as a denial.
    """

    name: str = ""

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """Before a call: ``event.call`` and ``event.spec`` are set."""
        del event
        return ALLOW

    def post_tool(self, event: HookEvent) -> HookDecision:
        """After a call that ran: ``event.result`` is set."""
        del event
        return ALLOW

    def on_error(self, event: HookEvent) -> HookDecision:
        """After a call that failed or was refused; the answer changes nothing."""
        del event
        return ALLOW

    def prompt(self, event: HookEvent) -> HookDecision:
        """Before a model call: ``event.prompt`` is set; may deny or inject."""
        del event
        return ALLOW
