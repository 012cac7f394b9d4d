"""What the internal state forbids. It can only add refusals: it never allows anything."""

from __future__ import annotations

from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.tools import COMMAND_TOOLS, Effect, ToolCall, ToolSpec
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, ask, deny
from llmos_workers.execution.hooks.security import is_destructive


def state_decision(call: ToolCall, spec: ToolSpec, policy: CognitivePolicy) -> HookDecision:
    """Block destructive calls, ask before shell commands and writes, as the policy says."""
    if policy.block_destructive_operations and is_destructive(call, spec):
        return deny(
            "state:destructive",
            "the system's safety is too low for destructive operations now",
        )
    shell = "command" in call.arguments or call.name in COMMAND_TOOLS
    if policy.require_confirmation_for_shell and shell:
        return ask("state:shell", "the system is cautious now: shell commands need confirmation")
    if policy.require_confirmation_for_writes and spec.effect is not Effect.READ and not shell:
        return ask("state:write", "the system is cautious now: writes need confirmation")
    return ALLOW


class SentienceSafetyHook(Hook):
    """The state rules as a hook. The gate applies them itself in any case."""

    name = "SentienceSafetyHook"
    judges = True

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """See state_decision."""
        if event.call is None or event.spec is None:
            return deny("state:event", "there is no call to check")
        return state_decision(event.call, event.spec, event.policy)
