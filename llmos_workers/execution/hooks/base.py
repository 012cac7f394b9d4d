"""Hooks: code that sees every tool call and may allow, deny, ask, change or add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from llmos_workers.contracts.bounds import Range
from llmos_workers.contracts.hooks import HookKind
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.tools import ToolCall, ToolResult, ToolSpec


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
    """``model``, ``trace`` or ``proof``."""
    policy: CognitivePolicy = field(default_factory=CognitivePolicy)
    call: ToolCall | None = None
    spec: ToolSpec | None = None
    result: ToolResult | None = None
    prompt: str = ""
    """The goal, before a model call."""
    turn: int = 0
    """How many model calls the run has made; 0 also before a replay."""
    area: str = ""
    """The folder that the call works in; empty where there is none."""
    bounds: tuple[Mapping[str, Range], ...] = ()
    """Ranges of the call's numbers that agent and project demand; each has to hold."""


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
    tainted: bool = False
    """For INJECT: the text holds what others wrote, and taints the run."""
    premises: tuple[str, ...] = ()
    """For INJECT of a hook that advises: what a trace is to remember all the same."""


ALLOW = HookDecision()


def deny(rule: str, reason: str) -> HookDecision:
    """The call must not run."""
    return HookDecision(HookAction.DENY, rule, reason)


def ask(rule: str, reason: str) -> HookDecision:
    """The call may run once a person said yes."""
    return HookDecision(HookAction.ASK, rule, reason)


def inject(text: str, *, rule: str = "", tainted: bool = False) -> HookDecision:
    """The call may go on, and the model is told ``text``."""
    return HookDecision(HookAction.INJECT, rule, context=text, tainted=tainted)


class Hook:
    """Base of hooks in Python: override what you care about; everything else allows.

    A hook that raises counts as a denial.
    """

    name: str = ""
    judges: ClassVar[bool] = False
    """It judges calls as they will run: asked after all others, and changes nothing. For llmos's
    own policy; hooks of settings are asked before it."""
    advises: bool = False
    """What it tells a model is how to work, not what to do: traces do not depend on it, and
    nobody asks it before a replay."""

    def handles(self, kind: HookKind) -> bool:
        """Whether it wants to be asked about events of a kind: whatever it overrides."""
        method = METHODS[kind]
        return getattr(type(self), method) is not getattr(Hook, method)

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


METHODS = {
    HookKind.PRE_TOOL_USE: "pre_tool",
    HookKind.POST_TOOL_USE: "post_tool",
    HookKind.ON_ERROR: "on_error",
    HookKind.USER_PROMPT_SUBMIT: "prompt",
}
"""The method of a Hook that answers events of a kind."""
