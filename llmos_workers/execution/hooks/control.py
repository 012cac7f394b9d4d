"""ControlHook: calls that change what agents are and may do."""

from __future__ import annotations

from typing import Literal

from llmos_workers.contracts.tools import ToolSpec
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, ask, deny

Confirm = Literal["never", "changes", "all"]


class ControlHook(Hook):
    """Refuses them while the internal state forbids self-modification, and asks a person about
    changes of what is there (``changes``), about new things too (``all``), or not (``never``).
    """

    name = "ControlHook"

    def __init__(self, confirm: Confirm = "changes") -> None:
        self._confirm = confirm

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """See the class."""
        if event.spec is None or not event.spec.control:
            return ALLOW
        if not event.policy.allow_self_modification:
            return deny("state:self_modification", "the system may not change itself now")
        if self._confirm == "all" or (self._confirm == "changes" and not creates(event.spec)):
            return ask("control", f"{event.spec.name} changes what agents are and may do")
        return ALLOW


def creates(spec: ToolSpec) -> bool:
    """Whether a tool only adds something new."""
    return spec.name.startswith("create_")
